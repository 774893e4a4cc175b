"""Which linear layers a request calls, in which order, with which activations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from mmprof.tracer.quantization.choices import Shape

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

_REPLAYED: Final = 4
"""Calls of a layer at one number of rows that are replayed: a loop of thousands of steps says no more."""


class Site(NamedTuple):
    """A layer at one number of rows.

    Attributes:
        layer: Path of the layer.
        rows: Rows of activations.
    """

    layer: str
    rows: int


@dataclass(slots=True)
class Recording:
    """The linear layers of a request.

    Attributes:
        layers: Those that were called, by path.
        activations: What each got first at each number of rows.
        order: Calls in their order, at most `_REPLAYED` of each site, so that a replay finds caches as cold as the request.
        calls: Calls in a request.
    """

    layers: dict[str, nn.Linear] = field(default_factory=dict)
    activations: dict[Site, Tensor] = field(default_factory=dict)
    order: list[Site] = field(default_factory=list)
    calls: Counter[Site] = field(default_factory=Counter)

    def shape(self, site: Site) -> Shape:
        """What decides how long the product takes."""
        layer = self.layers[site.layer]
        outputs, inputs = layer.weight.shape
        name = str(layer.weight.dtype).removeprefix("torch.")
        return Shape(site.rows, outputs, inputs, layer.bias is not None, name)

    def add(self, path: str, layer: nn.Linear, x: Tensor) -> None:
        """Keep a call; not one whose activations a product of the weights' dtype would not take."""
        rows = x.numel() // max(1, x.shape[-1])
        if not rows or x.dtype != layer.weight.dtype:
            return
        site = Site(path, rows)
        self.layers[path] = layer
        self.calls[site] += 1
        if self.calls[site] <= _REPLAYED:
            self.order.append(site)
        if site not in self.activations:
            self.activations[site] = x.detach().clone()


def linear_layers(workload: Workload) -> dict[str, nn.Linear]:
    """The plain linear layers of all models by path; not those that another lever changed already."""
    found: dict[str, nn.Linear] = {}
    for name, model in workload.models.items():
        for path, module in model.named_modules():
            plain = type(module) is nn.Linear and "forward" not in vars(module)
            if plain and type(module.weight) is nn.Parameter:
                found[".".join(filter(None, (name, path)))] = module
    return found


def recorded(workload: Workload) -> Recording:
    """Run a request, and keep what its linear layers get."""
    recording = Recording()
    with ExitStack() as hooks, torch.no_grad():
        for path, layer in linear_layers(workload).items():
            hook = layer.register_forward_pre_hook(_keeping(recording, path))
            hooks.callback(hook.remove)
        workload.run()
    return recording


def _keeping(recording: Recording, path: str) -> Callable[[nn.Linear, tuple[Any, ...]], None]:
    def keep(layer: nn.Linear, args: tuple[Any, ...]) -> None:
        if args and not torch.compiler.is_compiling():
            recording.add(path, layer, args[0])

    return keep
