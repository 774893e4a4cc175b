"""float32 matrix products by oneDNN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs a CPU on which the setting that routes products to oneDNN does not make them bfloat16."""
    import torch  # noqa: PLC0415

    from mmprof.tracer.lever_models import has_float32  # noqa: PLC0415  (transformers: seconds)

    if not device.startswith("cpu"):
        return f"routes the products of a CPU, not of {device}"
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch has no oneDNN"
    if torch.cpu._is_amx_tile_supported():  # noqa: SLF001  (torch has no public question for it)
        return "on a CPU with AMX the setting would compute in bfloat16"
    return "" if has_float32(workload) else "no parameter is float32"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Allow bfloat16 inside, which without AMX only takes float32 products away from MKL."""
    import torch  # noqa: PLC0415

    products: Any = cast("Any", torch.backends.mkldnn).matmul  # no type checker sees it
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield workload
    finally:
        products.fp32_precision = before


LEVER: Final = Lever(
    id="onednn_matmul",
    layer="hardware",
    summary="float32 matrix products of a CPU by oneDNN instead of MKL",
    exactness="reassociation",
    risk="medium",
    cost="none",
    hurts="products with one row, as in decoding, get slower; helps only where MKL is slow, as on AMD",
    applies=applies,
    apply=apply,
    unseen="it depends on how fast oneDNN multiplies on this CPU; a trace and its peaks show only the library that ran (1.8 times faster was measured on one AMD CPU, nothing on another); `mmprof verify` measures it",
)
