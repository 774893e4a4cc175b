"""What several levers ask of models, and changes to them that are undone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

import torch
from torch import nn

from mmprof.tracer.lever import NotApplicableError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mmprof.tracer.workload import Workload

_ABSENT: Final = object()
_PREPARE: Final = "_prepare_generation_config"

Conversion: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class GenerationOptions(Protocol):
    """What levers read and change of a generation config of transformers."""

    num_beams: int | None
    cache_implementation: str | None
    compile_config: object | None
    disable_compile: bool | None


Change: TypeAlias = Callable[[GenerationOptions], None]


def modules_of(workload: Workload) -> Iterator[nn.Module]:
    """All modules of all models."""
    for model in workload.models.values():
        yield from model.modules()


def transformers_models(workload: Workload) -> list[PreTrainedModel]:
    """The models of transformers among the models of a workload."""
    if "transformers" not in sys.modules:  # then none is, and importing it would take seconds
        return []
    from transformers import PreTrainedModel  # noqa: PLC0415

    return [model for model in workload.models.values() if isinstance(model, PreTrainedModel)]


def generators(workload: Workload) -> list[PreTrainedModel]:
    """The models of transformers that can generate."""
    found = transformers_models(workload)
    if not found:
        return []
    from transformers import GenerationMixin  # noqa: PLC0415  (as above)

    return [model for model in found if isinstance(model, GenerationMixin)]


def beams_of(model: PreTrainedModel) -> int:
    """Beams of the search that a model's own generation config asks for."""
    options = cast("GenerationOptions", model.generation_config)
    return options.num_beams or 1


def output_head(module: object) -> nn.Module | None:
    """The layer that makes a model's logits; None for what has none."""
    get: Callable[[], nn.Module | None] | None = getattr(module, "get_output_embeddings", None)
    return get() if get else None


def has_float32(workload: Workload) -> bool:
    """Whether any parameter is float32."""
    return any(
        parameter.dtype == torch.float32
        for model in workload.models.values()
        for parameter in model.parameters()
    )


@contextmanager
def attribute(owner: object, name: str, value: object) -> Iterator[None]:
    """Give one instance an attribute for a while; what the instance itself had under that name comes back."""
    own = vars(owner).get(name, _ABSENT)
    vars(owner)[name] = value
    try:
        yield
    finally:
        if own is _ABSENT:
            vars(owner).pop(name, None)
        else:
            vars(owner)[name] = own


@contextmanager
def generating_with(workload: Workload, change: Change) -> Iterator[Workload]:
    """Change the options of each `generate` of a workload's models.

    Args:
        workload: Whose models generate.
        change: Changes the options, which those of levers applied before have changed already.

    Yields:
        The workload, whose run raises `NotApplicableError` where it never calls `generate`.
    """
    calls: list[object] = []
    with ExitStack() as patches:
        for model in generators(workload):
            prepare = getattr(model, _PREPARE)
            patched = _changed(prepare, change, calls)
            patches.callback(_forget_news, model, set(vars(model)))
            patches.enter_context(attribute(model, _PREPARE, patched))
        yield replace(
            workload, run=_requiring(workload.run, calls, "its loop is not transformers' generate")
        )


def _forget_news(model: nn.Module, known: set[str]) -> None:
    """Drop what transformers puts on a model when it generates with a static cache or compiled code."""
    for name in set(vars(model)) - known:
        del vars(model)[name]


def _changed(
    prepare: Callable[..., tuple[GenerationOptions, object]],
    change: Change,
    calls: list[object],
) -> Callable[..., tuple[GenerationOptions, object]]:
    def prepared(*args: Any, **kwargs: Any) -> tuple[GenerationOptions, object]:
        options, others = prepare(*args, **kwargs)
        change(options)
        calls.append(options)
        return options, others

    return prepared


def _requiring(
    run: Callable[[], object], signs: list[object], otherwise: str
) -> Callable[[], object]:
    """The run, which leaves a sign of the lever's effect."""

    def checked() -> object:
        signs.clear()
        made = run()
        if not signs:
            raise NotApplicableError(otherwise)
        return made

    return checked


def requiring(workload: Workload, signs: list[object], otherwise: str) -> Workload:
    """The workload, whose run raises `NotApplicableError` unless it adds something to `signs`."""
    return replace(workload, run=_requiring(workload.run, signs, otherwise))


@contextmanager
def converted(modules: list[nn.Module], convert: Conversion) -> Iterator[None]:
    """Replace the parameters and persistent buffers of some modules; tied ones stay tied.

    Args:
        modules: Modules whose own parameters are converted, not those of their children.
        convert: Makes the new tensor of an old one; returns the old one to leave it.
    """
    made: dict[int, torch.Tensor] = {}
    with ExitStack() as restored:
        for module in modules:
            restored.enter_context(_members(module, "_parameters", convert, made))
            restored.enter_context(_members(module, "_buffers", convert, made))
        yield


@contextmanager
def _members(
    module: nn.Module, kind: str, convert: Conversion, made: dict[int, torch.Tensor]
) -> Iterator[None]:
    """Convert what one dictionary of a module holds; a buffer that the checkpoint lacks is derived, and keeps its precision."""
    members: dict[str, torch.Tensor | None] = vars(module)[kind]
    before, derived = dict(members), vars(module)["_non_persistent_buffers_set"]
    for name, tensor in before.items():
        if tensor is not None and name not in derived:
            members[name] = made.setdefault(id(tensor), _as_member(tensor, convert))
    try:
        yield
    finally:
        members.update(before)


def _as_member(tensor: torch.Tensor, convert: Conversion) -> torch.Tensor:
    new = convert(tensor)
    if new is tensor or not isinstance(tensor, nn.Parameter):
        return new
    return nn.Parameter(new, requires_grad=tensor.requires_grad)


def on_device(workload: Workload, kind: str) -> bool:
    """Whether any parameter lies on a device of a kind: "cpu", "cuda"."""
    return any(
        parameter.device.type == kind
        for model in workload.models.values()
        for parameter in model.parameters()
    )
