"""Embeddings and output heads: the tables whose rows stand for tokens, often the largest weights of a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from mmprof.tracer.lever_models import converted, generators, modules_of, output_head
from mmprof.tracer.lever_quantization import output_heads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mmprof.tracer.workload import Workload

LEAST_SHARE: Final = 0.1
"""Share of the bytes of a decode step from which on a head is worth rounding: half of a tenth is a gain that can be measured."""


@dataclass(frozen=True, slots=True)
class Head:
    """The output head of a model that generates.

    Attributes:
        layer: The layer.
        shared: Further modules of the model with the same weight: embeddings that it is tied to.
        read_bytes: What a decode step reads of it.
        step_bytes: What a decode step reads in all: every weight of the decoder, but of an embedding only some rows.
    """

    layer: nn.Linear
    shared: list[nn.Module]
    read_bytes: int
    step_bytes: int

    @property
    def share(self) -> float:
        """Its share of the bytes of a step."""
        return self.read_bytes / max(1, self.step_bytes)


def heads(workload: Workload) -> list[Head]:
    """The plain linear output heads of the models that generate."""
    found = ((model, output_head(model)) for model in generators(workload))
    return [_head(model, layer) for model, layer in found if type(layer) is nn.Linear]


def _head(model: PreTrainedModel, layer: nn.Linear) -> Head:
    decoder = cast("Callable[[], nn.Module]", model.get_decoder)()
    tables = {id(module.weight) for module in decoder.modules() if isinstance(module, nn.Embedding)}
    weights = {id(p): p for p in (*decoder.parameters(), *layer.parameters())}
    read = sum(p.nbytes for key, p in weights.items() if key not in tables)
    # a tied head is read in full, though it is an embedding as well
    tied_bytes = layer.weight.nbytes if id(layer.weight) in tables else 0
    own: nn.Module = model
    shared = [m for m in own.modules() if m is not layer and _weight(m) is layer.weight]
    return Head(layer, shared, layer.weight.nbytes, read + tied_bytes)


def _weight(module: nn.Module) -> object:
    return vars(module)["_parameters"].get("weight")


@contextmanager
def rounded(found: list[Head], dtype: torch.dtype) -> Iterator[None]:
    """Keep the weights of heads, and of what shares them, in a shorter dtype; all around them stays as it was.

    Args:
        found: The heads.
        dtype: The dtype of the weights, and of the product.
    """
    with ExitStack() as undone:
        for head in found:
            before = head.layer.weight.dtype
            modules: list[nn.Module] = [head.layer, *head.shared]
            undone.enter_context(converted(modules, _Rounding(dtype)))
            undone.callback(head.layer.register_forward_pre_hook(_Inputs(dtype)).remove)
            for module in modules:
                undone.callback(module.register_forward_hook(_Output(before)).remove)
        yield


@dataclass(frozen=True, slots=True)
class _Rounding:
    """Rounds floating-point tensors."""

    dtype: torch.dtype

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


@dataclass(frozen=True, slots=True)
class _Inputs:
    """A hook that rounds what a module reads."""

    dtype: torch.dtype

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.to(self.dtype) for x in args)


@dataclass(frozen=True, slots=True)
class _Output:
    """A hook that gives what a module made the dtype that its readers expect."""

    dtype: torch.dtype

    def __call__(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del args
        return output.to(self.dtype)


def tables(workload: Workload) -> list[nn.Embedding | nn.Linear]:
    """All embeddings, and the plain linear output heads."""
    own = {id(head): head for head in output_heads(workload) if type(head) is nn.Linear}
    embeddings = [m for m in modules_of(workload) if isinstance(m, nn.Embedding)]
    return [*embeddings, *own.values()]


def equal_weights(workload: Workload) -> list[list[Tensor]]:
    """The weights of tables that hold equal values in memory of their own, two or more in a group."""
    groups: list[list[Tensor]] = []
    for weight in {id(table.weight): table.weight for table in tables(workload)}.values():
        same = next((group for group in groups if _equal(group[0], weight)), None)
        if same is None:
            groups.append([weight])
        elif all(weight.data_ptr() != other.data_ptr() for other in same):
            same.append(weight)
    return [group for group in groups if len(group) > 1]


def _equal(one: Tensor, other: Tensor) -> bool:
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and not one.is_meta and torch.equal(one, other)


@contextmanager
def sharing(groups: list[list[Tensor]]) -> Iterator[None]:
    """Let the weights of a group read the first one's memory; they stay the same parameters."""
    for first, *others in groups:
        for other in others:
            other.data = first.data
    try:
        yield
    finally:
        for _, *others in groups:
            for other in others:
                other.data = other.data.clone()
