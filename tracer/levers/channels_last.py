"""Convolutions with the channels innermost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs two-dimensional convolutions: torch has no such format for others."""
    return "" if _convolutions(workload) else "no two-dimensional convolution"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Lay out the weights so; activations follow from the first convolution on."""
    from mmprof.tracer.lever_models import converted  # noqa: PLC0415

    with converted(_convolutions(workload), _channels_last):
        yield workload


def _channels_last(tensor: Tensor) -> Tensor:
    import torch  # noqa: PLC0415

    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _convolutions(workload: Workload) -> list[nn.Module]:
    from torch import nn  # noqa: PLC0415

    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415  (transformers: seconds)

    return [module for module in modules_of(workload) if isinstance(module, nn.Conv2d)]


def predict(replay: Replay) -> Predicted:
    """Kernels that convert between layouts are gone; convolutions come nearer to their roofline."""
    from mmprof.analyzers.whatif.layouts import innermost_channels  # noqa: PLC0415  (polars: 100 ms)

    return innermost_channels(replay)


LEVER: Final = Lever(
    id="channels_last",
    layer="system",
    summary="Two-dimensional convolutions with the channels innermost in memory",
    exactness="reassociation",
    risk="low",
    cost="none",
    hurts="operators without such a kernel convert back and forth",
    applies=applies,
    apply=apply,
    predict=predict,
)
