"""How long the device was busy and idle, and what lies outside its window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from mmprof.analyzers import intervals
from mmprof.analyzers.registry import analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


class CarryIn(Struct, frozen=True):
    """Activities launched before the recorded window; not part of it.

    Attributes:
        count: Number of activities.
        time_ns: Time covered by them.
    """

    count: int
    time_ns: int


class Activities(Struct, frozen=True):
    """Activities of one kind inside the window.

    Attributes:
        count: Number of them.
        sum_ns: Sum of their durations, overlaps counted twice.
    """

    count: int
    sum_ns: int


class Timeline(Struct, frozen=True):
    """Busy and idle time of a device; busy_ns + idle_ns = window_ns.

    Attributes:
        window_ns: First start to last end of the activities launched in the recorded window.
        busy_ns: Time with at least one activity, over all streams.
        idle_ns: The rest.
        idle_share: idle_ns / window_ns.
        overlap_ns: Time with two or more activities at once.
        head_ns: Host time before the first activity, from the start of the trace or of the first selected span.
        tail_ns: Host time after the last activity, to the end of the trace or of the last selected span.
        streams: Number of streams with activities.
        carry_in: Activities launched before the recording began.
        activities: Counts and sums per kind.
    """

    window_ns: int
    busy_ns: int
    idle_ns: int
    idle_share: float
    overlap_ns: int
    head_ns: int
    tail_ns: int
    streams: int
    carry_in: CarryIn
    activities: dict[str, Activities]


@analysis("device")
def timeline(view: View) -> Timeline:
    """Measure the window, the union of all activities in it, and the host time around it."""
    selected = view.selected
    window_ns, busy_ns = view.window_ns, view.busy_ns
    head_ns, tail_ns = _around(view)
    return Timeline(
        window_ns=window_ns,
        busy_ns=busy_ns,
        idle_ns=window_ns - busy_ns,
        idle_share=(window_ns - busy_ns) / window_ns if window_ns else 0.0,
        overlap_ns=_overlap_ns(selected),
        head_ns=head_ns,
        tail_ns=tail_ns,
        streams=selected["stream"].n_unique(),
        carry_in=_carry_in(view.all_activities),
        activities=_by_kind(
            selected, ("operator",) if view.is_host else ("kernel", "memcpy", "memset")
        ),
    )


def _around(view: View) -> tuple[int, int]:
    window = view.window
    recorded = view.trace.host if view.spans is None else view.spans
    if recorded.is_empty() or window.is_empty():
        return 0, 0
    first, last = int(recorded["start_ns"].min()), int(recorded["end_ns"].max())  # type: ignore[arg-type]
    return max(0, int(window["start_ns"][0]) - first), max(0, last - int(window["end_ns"][-1]))


def _overlap_ns(selected: pl.DataFrame) -> int:
    """Time with at least two activities: each one's part that an earlier start still covers, as a union."""
    reached = selected["end_ns"].cum_max().shift(1)
    later = selected.select("start_ns", "end_ns", reached=reached).slice(1)
    repeated = later.select("start_ns", end_ns=pl.min_horizontal("end_ns", "reached"))
    return intervals.union_length(repeated)


def _carry_in(activities: pl.DataFrame) -> CarryIn:
    carried = activities.filter(pl.col("carry_in"))
    return CarryIn(len(carried), intervals.union_length(carried))


def _by_kind(selected: pl.DataFrame, kinds: tuple[str, ...]) -> dict[str, Activities]:
    summed = selected.group_by(pl.col("kind").cast(pl.String)).agg(
        pl.len(), sum_ns=(pl.col("end_ns") - pl.col("start_ns")).sum()
    )
    found = {kind: Activities(count, sum_ns) for kind, count, sum_ns in summed.iter_rows()}
    return {kind: found.get(kind, Activities(0, 0)) for kind in kinds}
