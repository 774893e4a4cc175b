"""torch.compile of what a model repeats: one graph serves many layers, whatever loop calls the model.

A layer that is given a key-value cache is not compiled as a whole: it reads the cache at its own number, so that no two layers
could share a graph, and an empty, a first and a growing cache would each add one. Its parts without a cache are, such as
norms and the feed-forward network.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import torch
from torch import nn
from torch._dynamo.utils import counters

from mmprof.tracer.lever_models import attribute

if TYPE_CHECKING:
    from mmprof.tracer.workload import Argument, Workload

GRAPHS_A_CLASS: Final = 16
"""Graphs of one class of module: its code is shared, and so is their number. Shapes, a mask or none, prefill and step ask for one."""

_CACHES: Final = {"past_key_values", "past_key_value"}
"""What transformers calls the argument of a layer that is its cache."""

_COLLECTED_OUTSIDE: Final = {"hidden_states"}
"""What transformers collects where a layer is called, not within it."""

Form: TypeAlias = "tuple[type[nn.Module], tuple[torch.Size, ...]]"
Forward: TypeAlias = Callable[..., Any]


class Collector(Protocol):
    """Where transformers' hooks put hidden states and attentions; its context variable cannot be traced, the global can."""

    context_var: Any
    global_var: object
    compiling: bool


def regions(workload: Workload) -> list[nn.Module]:
    """What of the repeated layers can share graphs: those without a cache, and parts of the others."""
    layers = (layer for model in workload.models.values() for layer in _repeated(model))
    return [part for layer in layers for part in _without_cache(layer)]


def _without_cache(layer: nn.Module) -> list[nn.Module]:
    if not _takes_cache(layer):
        return [layer]
    parts = [child for child in layer.children() if not _takes_cache(child)]
    return [part for part in parts if next(part.children(), None) is not None or _is_norm(part)]


def _takes_cache(module: nn.Module) -> bool:
    return not _CACHES.isdisjoint(inspect.signature(module.forward).parameters)


def _is_norm(module: nn.Module) -> bool:
    """Whether it is written out in operators; torch's own modules are one operator each."""
    return bool(list(module.parameters())) and not type(module).__module__.startswith("torch.")


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that stand more than once in one list, with equal class and shapes; none within another of them."""
    again: set[int] = set()
    if isinstance(module, nn.ModuleList | nn.Sequential):
        again = set(map(id, _equal_children(module)))
    for child in module.children():
        if id(child) in again:
            yield child
        else:
            yield from _repeated(child)


def _equal_children(parent: nn.Module) -> list[nn.Module]:
    """The children with children of their own and an equal form: a single operator gains nothing."""
    forms: dict[Form, list[nn.Module]] = {}
    for child in parent.children():
        if next(child.children(), None) is not None:
            shapes = tuple(parameter.shape for parameter in child.parameters())
            forms.setdefault((type(child), shapes), []).append(child)
    return [layer for equal in forms.values() if len(equal) > 1 for layer in equal]


@contextmanager
def compiled_regions(workload: Workload) -> Iterator[Workload]:
    """Compile what repeats; what surrounds it stays as it is."""
    parts = regions(workload)
    before = Compilation.now()

    def facts() -> Mapping[str, Argument]:
        return {**workload.facts(), **Compilation.now().since(before).facts(len(parts))}

    with ExitStack() as undone:
        undone.callback(torch.compiler.reset)
        for part in parts:
            fast = _compile(part.forward, recompile_limit=GRAPHS_A_CLASS)
            undone.enter_context(attribute(part, "forward", _traceable(fast, part.forward)))
        yield replace(workload, facts=facts)


def _compile(forward: Forward, **options: int) -> Forward:
    compiler: Any = torch.compile  # its overloads lack this option
    fast: Forward = compiler(forward, **options)
    return fast


def _traceable(fast: Forward, eager: Forward) -> Forward:
    """The compiled forward, and the eager one where transformers collects what is made within it."""
    collector = _collector()
    if collector is None:
        return fast

    def forward(*args: Any, **kwargs: Any) -> Any:
        if set(collector.context_var.get() or ()) - _COLLECTED_OUTSIDE:
            return eager(*args, **kwargs)
        with _idle(collector):
            return fast(*args, **kwargs)

    return forward


@contextmanager
def _idle(collector: Collector) -> Iterator[None]:
    """Hooks within ask the global, which can be traced, and find that nothing is collected."""
    before = collector.compiling, collector.global_var
    collector.compiling, collector.global_var = True, None
    try:
        yield
    finally:
        collector.compiling, collector.global_var = before


def _collector() -> Collector | None:
    module = sys.modules.get("transformers.utils.output_capturing")
    found: Collector | None = getattr(module, "_active_collector", None)
    return found


@dataclass(frozen=True, slots=True)
class Compilation:
    """What torch's compiler has done in this process.

    Attributes:
        graphs: Graphs that it compiled.
        breaks: Why it could not go on within a frame, and how often.
    """

    graphs: int
    breaks: Mapping[str, int]

    @classmethod
    def now(cls) -> Compilation:
        """As torch counts it."""
        return cls(counters["stats"]["unique_graphs"], dict(counters["graph_break"]))

    def since(self, before: Compilation) -> Compilation:
        """What was added."""
        news = {why: n - before.breaks.get(why, 0) for why, n in self.breaks.items()}
        added = {why: n for why, n in news.items() if n}
        return Compilation(self.graphs - before.graphs, added)

    def facts(self, regions: int) -> dict[str, Argument]:
        """For people: of breaks only the first line of the most frequent reason."""
        told: dict[str, Argument] = {"regions": regions, "graphs": self.graphs}
        if self.breaks:
            why = max(self.breaks, key=lambda reason: self.breaks[reason])
            told["graph_breaks"] = sum(self.breaks.values())
            told["break"] = why.partition("\n")[0]
        return told
