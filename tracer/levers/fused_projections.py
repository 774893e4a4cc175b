"""Projections of the same activations as one matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever, NotApplicableError

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs two plain linear layers; whether they read the same activations shows a run."""
    from mmprof.tracer.quantization.recording import linear_layers  # noqa: PLC0415  (torch: seconds)

    return "" if len(linear_layers(workload)) > 1 else "no two linear layers"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Watch a request, and join the layers of one parent that always read the same tensor."""
    from mmprof.tracer.lever_projections import joined, siblings  # noqa: PLC0415

    groups = siblings(workload)
    if not groups:
        raise NotApplicableError("no two linear layers of a module read the same tensor each time")
    with joined(groups):
        yield workload


def predict(replay: Replay) -> Predicted:
    """Neighbouring linear layers are one product."""
    from mmprof.analyzers.whatif.projections import joined_projections  # noqa: PLC0415  (polars: 100 ms)

    return joined_projections(replay)


LEVER: Final = Lever(
    id="fused_projections",
    layer="system",
    summary="Linear layers that read the same activations (query, key and value; gate and up) as one matrix product",
    exactness="reassociation",
    risk="low",
    cost="one request to see which they are",
    hurts="on a CPU little is launched, and what is split is no longer contiguous: it may gain nothing",
    applies=applies,
    apply=apply,
    predict=predict,
    after=("dtype", "weight_casts"),  # the joint weights have the dtype that the layers' had
    conflicts=(
        "autoquant",
        "float8",
        "fp16_weights",
        "linear_layout",
        "quantization_dynamic",
        "quantization_int4",
        "quantization_weight_only",
    ),
)
