"""When everything happens in a graph of calls and activities: one pass over the events in their order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.whatif.timeline import HOST_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmprof.analyzers.whatif.timeline import Timeline

_NEVER: Final = -(2**62)


def window_ns(timeline: Timeline) -> int:
    """Length of the window when every call and activity starts as soon as what it waits for allows.

    Of several spans the lengths of their union are summed, as in the recorded window.
    """
    starts, ends = schedule(timeline)
    acts = timeline.activities.with_columns(
        began=pl.Series(starts, dtype=pl.Int64), ended=pl.Series(ends, dtype=pl.Int64)
    ).filter(pl.col("span") >= 0)
    # the window begins with the activity that it was recorded to begin with, even if that is gone
    spans = acts.sort("start_ns", "at").group_by("span").agg(
        pl.col("began").first(), pl.col("ended").filter(~pl.col("gone")).max()
    )  # fmt: skip
    return _union_ns(sorted(spans.drop_nulls().select("began", "ended").iter_rows()))


def _union_ns(spans: list[tuple[int, int]]) -> int:
    total, reached = 0, _NEVER
    for start, end in spans:
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def with_held(timeline: Timeline, rows: pl.Series) -> Timeline:
    """The timeline with activities that end no earlier than they do in it, whatever else changes."""
    mine = pl.col("row").is_in(rows.implode())
    ends = pl.Series(schedule(timeline)[1], dtype=pl.Int64)
    held = timeline.activities.with_columns(held_ns=pl.when(mine).then(ends))
    return replace(timeline, activities=held)


def schedule(timeline: Timeline) -> tuple[list[int], list[int]]:
    """Start and end of each activity, in nanoseconds since the begin of the recording.

    An activity that is gone starts when it would have, and ends at once.
    """
    acts = timeline.activities
    columns = _edges(acts)
    reached = [_NEVER] * (int(str(acts["stream"].max())) + 1 if acts.height else 0)
    starts: list[int] = []
    ends: list[int] = []
    started = ended = 0
    for gap, lead, call, waits_for, return_ns, launched in _calls(timeline):
        started = ended + gap if lead < 0 else started + lead
        for _ in range(launched):
            stream, latency, lag, after, after_ns, dur, gone, held = next(columns)
            begin = max(started + latency, reached[stream] + lag)
            if after >= 0:
                begin = max(begin, ends[after] + after_ns)
            end = max(begin + dur, held)
            if gone:
                end = min(end, max(reached[stream], started))
            elif end > reached[stream]:
                reached[stream] = end
            starts.append(begin)
            ends.append(end)
        ended = started + call
        if waits_for >= 0:
            ended = max(ended, ends[waits_for] + return_ns)
    return starts, ends


def _edges(activities: pl.DataFrame) -> Iterator[tuple[int, ...]]:
    return activities.select(
        "stream",
        pl.col("latency_ns").fill_null(_NEVER),
        "lag_ns",
        "after",
        "after_ns",
        "dur_ns",
        "gone",
        pl.col("held_ns").fill_null(_NEVER),
    ).iter_rows()


def _calls(timeline: Timeline) -> Iterator[tuple[int, ...]]:
    """Host time before each call, how far it overlaps the one before, its own time, what it waits for and launched."""
    counts = timeline.activities.group_by("node").agg(launched=pl.len().cast(pl.Int64))
    joined = timeline.events.join(counts, on="node", how="left", maintain_order="left")
    gap = pl.sum_horizontal(HOST_STATES)
    return joined.select(
        gap.alias("gap"), "lead_ns", "call_ns", "waits_for", "return_ns", pl.col("launched").fill_null(0)
    ).iter_rows()  # fmt: skip
