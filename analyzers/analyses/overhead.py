"""What the profiler itself cost: the recorded run beside un-profiled ones of the same work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from mmprof.analyzers.registry import analysis

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import Timing
    from mmprof.analyzers.view import View


class Overhead(Struct, frozen=True):
    """Times of the whole recorded run, in seconds on the host's clock; null where the sidecar does not have them.

    Attributes:
        unprofiled_s: Median of the runs without the profiler.
        interval_s: A confidence interval of that median.
        profiled_s: The recorded run.
        ratio: profiled_s / unprofiled_s; null where recording ended before the run did.
        source: Where the times come from, or why there are none; empty without a sidecar.
    """

    unprofiled_s: float | None = None
    interval_s: tuple[float, float] | None = None
    profiled_s: float | None = None
    ratio: float | None = None
    source: str = ""


class ProfilerCost(Struct, frozen=True):
    """How much the profiler slowed the run.

    Attributes:
        overhead: The recorded run beside un-profiled ones.
    """

    overhead: Overhead


@analysis("device")
def overhead(view: View) -> ProfilerCost:
    """Take the times of the recorded run and of un-profiled runs from the sidecar."""
    sidecar = view.trace.sidecar
    return ProfilerCost(Overhead() if sidecar is None else _overhead(sidecar.timing))


def _overhead(timing: Timing) -> Overhead:
    if not timing.median_s or timing.median_s < 0:
        return Overhead(profiled_s=timing.profiled_s, source="sidecar: no un-profiled runs")
    whole_s = timing.profiled_s if timing.profiled_whole else None
    return Overhead(
        unprofiled_s=timing.median_s,
        interval_s=timing.interval_s,
        profiled_s=timing.profiled_s,
        ratio=None if whole_s is None else whole_s / timing.median_s,
        source=_source(timing),
    )


def _source(timing: Timing) -> str:
    sure = f" with {timing.coverage:.1%} confidence" if timing.coverage is not None else ""
    runs = f"sidecar: median of {len(timing.runs_s)} un-profiled runs, interval{sure} by {timing.method}"
    return runs if timing.profiled_whole else f"{runs}; recording ended before the run did"
