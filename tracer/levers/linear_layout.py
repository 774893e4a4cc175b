"""Weights of linear layers in the order in which a CPU's kernels read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

LAYER_ERROR: Final = 1e-5
"""Relative L2 error that another order of additions may make: `docs/verification.md`."""


def applies(workload: Workload, device: str) -> str:
    """Needs a CPU, and a linear layer."""
    from mmprof.tracer.quantization.lever_tuning import why_nothing_to_tune  # noqa: PLC0415  (torch: seconds)

    if not device.startswith("cpu"):
        return f"packs weights for the kernels of a CPU, not of {device}"
    return why_nothing_to_tune(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Record a request, time the layouts on its linear layers, and keep the fastest."""
    from mmprof.tracer.quantization.candidates import EXACT  # noqa: PLC0415
    from mmprof.tracer.quantization.lever_tuning import tuning  # noqa: PLC0415

    with tuning(workload, EXACT, budget=LAYER_ERROR, lever=LEVER.id) as changed:
        yield changed


LEVER: Final = Lever(
    id="linear_layout",
    layer="hardware",
    summary="Weights of linear layers transposed or packed for the product that is fastest at each shape",
    exactness="reassociation",
    risk="low",
    cost="some requests to measure, and memory of a second copy of the weights",
    hurts="requests of other lengths: a shape that was not measured runs as before",
    applies=applies,
    apply=apply,
    unseen="it depends on which library multiplies fastest at each shape; a trace and its peaks show only the one that ran; `mmprof verify` times the others",
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "autoquant",
        "fp16_weights",
        "quantization_int4",
        "float8",
        "quantization_dynamic",
        "quantization_weight_only",
    ),
)
