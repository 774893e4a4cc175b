"""TF32 matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_FIRST_WITH_TF32: Final = (8, 0)


def applies(workload: Workload, device: str) -> str:
    """Needs float32 products and an NVIDIA GPU from Ampere on."""
    import torch  # noqa: PLC0415

    from mmprof.tracer.lever_models import has_float32  # noqa: PLC0415  (transformers: seconds)

    if not device.startswith("cuda") or torch.version.hip:
        return f"needs an NVIDIA GPU: {device} has no TF32"
    if torch.cuda.get_device_capability(device) < _FIRST_WITH_TF32:
        return "needs compute capability 8.0"
    return "" if has_float32(workload) else "no parameter is float32"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Allow TF32 in matrix products."""
    import torch  # noqa: PLC0415

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield workload
    finally:
        torch.set_float32_matmul_precision(before)


def predict(replay: Replay) -> Predicted:
    """Products at the peak of TF32."""
    from mmprof.analyzers.whatif.precision import tensor_float  # noqa: PLC0415  (polars: 100 ms)

    return tensor_float(replay)


LEVER: Final = Lever(
    id="tf32",
    layer="hardware",
    summary="float32 matrix products with factors rounded to 10 bits of mantissa",
    exactness="lossy",
    risk="low",
    cost="about 1e-3 relative error",
    hurts="nothing where products are not the bottleneck",
    applies=applies,
    apply=apply,
    predict=predict,
    # about ten times the rounding of one factor, 2**-11: errors of layers add up
    budget=0.005,
    conflicts=("dtype",),
)
