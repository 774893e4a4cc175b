"""Memory that is used again, not asked of the system again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever, NotApplicableError

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

LEAST_FAULTS: Final = 1024
"""Pages of a request from which on it is worth it: 4 MiB, about a millisecond of the system's time."""


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every workload allocates)
    """Needs glibc's malloc on a CPU, or torch's own allocator on CUDA without expandable segments."""
    from mmprof.tracer.device_memory import why_no_expandable_segments  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.host_memory import why_malloc_cannot_keep  # noqa: PLC0415

    if device.startswith("cpu"):
        return why_malloc_cannot_keep()
    if device.startswith("cuda"):
        return why_no_expandable_segments()
    return f"{device} has no such settings"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """On a CPU watch a request, and let malloc keep what it frees; on CUDA let segments grow in place."""
    from mmprof.tracer.device_memory import expandable_segments  # noqa: PLC0415
    from mmprof.tracer.host_memory import kept_memory  # noqa: PLC0415
    from mmprof.tracer.lever_models import on_device  # noqa: PLC0415

    if on_device(workload, "cuda"):
        with expandable_segments():
            yield workload
        return
    _require_faults(workload)
    with kept_memory():
        yield workload


def _require_faults(workload: Workload) -> None:
    """Run a request three times, since the first one makes what stays, and the next ones need not be alike."""
    from mmprof.tracer.host_memory import page_faults  # noqa: PLC0415

    workload.run()
    faults = max(page_faults(workload.run) for _ in range(2))
    if faults < LEAST_FAULTS:
        raise NotApplicableError(
            f"a request asks the system for {faults:,} pages of memory; fewer than {LEAST_FAULTS:,} cost nothing"
        )


def predict(replay: Replay) -> Predicted:
    """No call of the window allocates or frees memory."""
    from mmprof.analyzers.whatif.waits import without_state  # noqa: PLC0415  (polars: 100 ms)

    return without_state(replay, "allocator", "calls that allocate or free memory")


LEVER: Final = Lever(
    id="allocator_settings",
    layer="system",
    summary="Freed memory is kept for the next tensors: malloc's thresholds on a CPU, expandable segments on CUDA",
    exactness="identical",
    risk="low",
    cost="memory that stays with the process; on a CPU three requests to see whether pages are asked for",
    hurts="other processes of a machine whose memory is short",
    applies=applies,
    apply=apply,
    predict=predict,
    unseen="no call that allocates takes time; a trace does not show the pages of memory that the system of a CPU fills at the "
    "first touch of each new tensor; `mmprof verify` counts them",
)
