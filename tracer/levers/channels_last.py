"""Convolutions with the channels innermost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_LINE: Final = 3
_IMAGE: Final = 4


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs convolutions over one or two extents: torch has no such format for others."""
    return "" if _convolutions(workload) else "no convolution over one or two extents"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Lay out the weights so; activations follow from the first convolution on."""
    from mmprof.tracer.lever_models import attribute, converted  # noqa: PLC0415

    found = _convolutions(workload)
    with ExitStack() as undone:
        undone.enter_context(converted(found, _channels_last))
        for layer in filter(_is_line, found):
            undone.enter_context(attribute(layer, "forward", _as_image(layer)))
        yield workload


def _channels_last(tensor: Tensor) -> Tensor:
    import torch  # noqa: PLC0415

    if tensor.dim() == _LINE:
        return tensor.unsqueeze(2).to(memory_format=torch.channels_last).squeeze(2)
    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == _IMAGE else tensor


def _as_image(layer: Any) -> Callable[[Tensor], Tensor]:
    """The product of a convolution over a line, by the kernels of images one pixel high: torch has no such format for lines."""
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415

    stride, padding, dilation = (1, *layer.stride), (0, *layer.padding), (1, *layer.dilation)
    whole = layer.forward

    def forward(input: Tensor) -> Tensor:  # noqa: A002  (callers may name it, as of `nn.Conv1d`)
        if input.dim() != _LINE:  # without a batch
            return cast("Tensor", whole(input))
        image = input.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        weight = layer.weight.unsqueeze(2)
        made = functional.conv2d(image, weight, layer.bias, stride, padding, dilation, layer.groups)
        return made.squeeze(2)

    return forward


def _convolutions(workload: Workload) -> list[nn.Module]:
    from torch import nn  # noqa: PLC0415

    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415  (transformers: seconds)

    return [m for m in modules_of(workload) if isinstance(m, nn.Conv2d) or _is_line(m)]


def _is_line(module: nn.Module) -> bool:
    """Whether a module is a convolution over a line that could be one over an image: padded with a number of zeros, if at all."""
    from torch import nn  # noqa: PLC0415

    return (
        type(module) is nn.Conv1d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def predict(replay: Replay) -> Predicted:
    """Kernels that convert between layouts are gone; convolutions come nearer to their roofline."""
    from mmprof.analyzers.whatif.layouts import innermost_channels  # noqa: PLC0415  (polars: 100 ms)

    return innermost_channels(replay)


LEVER: Final = Lever(
    id="channels_last",
    layer="system",
    summary="Convolutions over one or two extents with the channels innermost in memory",
    exactness="reassociation",
    risk="low",
    cost="none",
    hurts="operators without such a kernel convert back and forth; `view` of what a convolution made may fail",
    applies=applies,
    apply=apply,
    predict=predict,
)
