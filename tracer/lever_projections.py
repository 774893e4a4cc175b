"""Linear layers that read the same activations, as one product: which they are, their joint weights, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmprof.tracer.lever_models import attribute
from mmprof.tracer.quantization.recording import linear_layers

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload


@dataclass(slots=True)
class Family:
    """The linear layers of one parent, while a request runs.

    Attributes:
        input: What one of them was called with last; kept, so that no other tensor takes its identity.
        inputs: How many different inputs in a row there were.
        read: Which of these each layer read, by its path.
    """

    input: Tensor | None = None
    inputs: int = 0
    read: dict[str, list[int]] = field(default_factory=dict)

    def add(self, path: str, x: Tensor) -> None:
        """Note a call."""
        if x is not self.input:
            self.input, self.inputs = x, self.inputs + 1
        self.read.setdefault(path, []).append(self.inputs)


def siblings(workload: Workload) -> list[list[nn.Linear]]:
    """Run a request; the plain linear layers of one parent that always read the same tensor, in the order of their calls."""
    families: dict[str, Family] = {}
    layers = linear_layers(workload)
    with ExitStack() as hooks:
        for path, layer in layers.items():
            family = families.setdefault(path.rpartition(".")[0], Family())
            hook = layer.register_forward_pre_hook(_noting(family, path))
            hooks.callback(hook.remove)
        workload.run()
    groups = [group for family in families.values() for group in _groups(family, layers)]
    return [group for group in groups if len(group) > 1]


def _noting(family: Family, path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001  (the form of a hook)
        if args:
            family.add(path, args[0])

    return note


def _groups(family: Family, layers: dict[str, nn.Linear]) -> list[list[nn.Linear]]:
    """The layers that read the same inputs, once each, and can share one product."""
    found: dict[tuple[object, ...], list[nn.Linear]] = {}
    for path, read in family.read.items():
        layer = layers[path]
        if len(set(read)) == len(read):
            weight = layer.weight
            form = (weight.dtype, weight.device, weight.shape[1], layer.bias is not None)
            found.setdefault((tuple(read), form), []).append(layer)
    return list(found.values())


class Joint:
    """One product in the place of several.

    The first of the layers to be called computes all of them, the others take their part. A layer that is called with
    another tensor than the first one computes on its own. That nothing writes into the tensor between the calls is
    assumed, and the comparison of outputs would show it.

    Attributes:
        layers: The layers.
        weight: (sum of outputs, inputs).
        bias: (sum of outputs), if they have one.
    """

    def __init__(self, layers: list[nn.Linear]) -> None:
        self.layers = layers
        self.weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.cat(biases) if biases else None
        self._sizes = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._parts: dict[int, Tensor] = {}

    def forward_of(self, place: int) -> Callable[[Tensor], Tensor]:
        """The forward of one of the layers."""

        def forward(x: Tensor) -> Tensor:
            if x is not self._input or place not in self._parts:
                self._multiply(x)
            part = self._parts.pop(place)
            if not self._parts:
                self._input = None
            return part

        return forward

    def _multiply(self, x: Tensor) -> None:
        parts = torch.split(functional.linear(x, self.weight, self.bias), self._sizes, dim=-1)
        self._input, self._parts = x, dict(enumerate(parts))


@contextmanager
def joined(groups: list[list[nn.Linear]]) -> Iterator[None]:
    """Multiply each group at once; the layers' own weights become views of the joint ones, so that no memory is added."""
    with ExitStack() as undone:
        for joint in map(Joint, groups):
            undone.enter_context(_as_views(joint))
            for place, layer in enumerate(joint.layers):
                undone.enter_context(attribute(layer, "forward", joint.forward_of(place)))
        yield


@contextmanager
def _as_views(joint: Joint) -> Iterator[None]:
    """The parameters stay the same objects with the same values; afterwards each has memory of its own again."""
    sizes = [layer.out_features for layer in joint.layers]
    own = [layer.weight for layer in joint.layers]
    views = list(torch.split(joint.weight, sizes))
    if joint.bias is not None:
        own += [layer.bias for layer in joint.layers]
        views += torch.split(joint.bias, sizes)
    for parameter, view in zip(own, views, strict=True):
        parameter.data = view
    try:
        yield
    finally:
        for parameter in own:
            parameter.data = parameter.data.clone()
