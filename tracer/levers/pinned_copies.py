"""Inputs that are copied to the device from pinned memory, while the host goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (whether it copies anything shows a run)
    """Needs an accelerator with memory of its own."""
    if device.startswith("cpu"):
        return "on a CPU nothing is copied to a device: its memory is the host's"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Stage each copy from the host in pinned memory of torch's own cache, which is not used again before the copy is done."""
    from mmprof.tracer.lever_copies import pinned_copies  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.lever_models import requiring  # noqa: PLC0415

    copies: list[object] = []

    def run() -> object:
        # the methods are everyone's, so they are changed no longer than a request takes
        with pinned_copies(copies):
            return workload.run()

    missing = "a request copies nothing from pageable memory of the host to the device"
    yield requiring(replace(workload, run=run), copies, missing)


def predict(replay: Replay) -> Predicted:
    """No copy to the device holds the host."""
    from mmprof.analyzers.whatif.waits import without_held_copies  # noqa: PLC0415  (polars: 100 ms)

    return without_held_copies(replay, direction="HtoD")


LEVER: Final = Lever(
    id="pinned_copies",
    layer="application",
    summary="A request's copies from the host to the device go through pinned memory and do not hold the host",
    exactness="identical",
    risk="low",
    cost="one more copy within the host's memory, and as much pinned memory as is under way",
    hurts="inputs of some KiB, which the driver takes without waiting anyway",
    applies=applies,
    apply=apply,
    predict=predict,
)
