"""Busy and idle time of a set of activities, and the time that each of them owns.

Where activities overlap, an instant belongs to just one of them: the one whose class comes first in the documented
order, and among equals the one that started first. So the owned times sum to the busy time exactly, however they are
grouped.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mmprof.analyzers import intervals


def windows(activities: pl.DataFrame) -> pl.DataFrame:
    """First start to last end, per `span` of the activities, as a union."""
    return intervals.merge(
        activities.group_by("span").agg(pl.col("start_ns").min(), pl.col("end_ns").max())
    )


def gaps(activities: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """Idle gaps: start_ns, end_ns and `row`, the activity that ends the gap; an empty one only where none else does.

    Args:
        activities: Selected activities by start, with `row`.
        window: The union in which time counts.
    """
    idle = intervals.subtract(window, intervals.merge(activities))
    spans = activities.select("row", "start_ns", "end_ns")
    first = spans.filter(pl.col("end_ns") > pl.col("start_ns"))
    if len(first) < len(spans):
        first = pl.concat([first, spans]).sort("start_ns", maintain_order=True)
    first = first.filter(pl.col("start_ns").ne_missing(pl.col("start_ns").shift(1)))
    return idle.join(
        first.select("row", "start_ns"), left_on="end_ns", right_on="start_ns", how="left"
    ).sort("start_ns")


def own(activities: pl.DataFrame, order: Sequence[str]) -> pl.Series:
    """Nanoseconds that each activity owns; they sum to the union of all.

    Args:
        activities: By start, with `start_ns`, `end_ns` and `class`.
        order: Classes, the ones that take shared time first.
    """
    spans = activities.select(
        "class", "start_ns", "end_ns", length=pl.col("end_ns") - pl.col("start_ns")
    )
    if int(spans["length"].sum()) == intervals.union_length(spans):
        return spans["length"].alias("own_ns")
    return _own_by_class(spans.with_row_index("at"), order)


def _own_by_class(spans: pl.DataFrame, order: Sequence[str]) -> pl.Series:
    taken = intervals.empty()
    pieces = []
    for name in order:
        mine = _without_repeats(spans.filter(pl.col("class") == name))
        if mine.is_empty():
            continue
        shared = intervals.covered_before(taken, mine["end_ns"]) - intervals.covered_before(
            taken, mine["start_ns"]
        )
        pieces.append(mine.select("at", own_ns=pl.col("end_ns") - pl.col("start_ns") - shared))
        taken = intervals.merge(pl.concat([taken, mine.select("start_ns", "end_ns")]))
    return pl.concat(pieces).sort("at")["own_ns"]


def owned_spans(activities: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """The spans behind `own`: disjoint, by start, with `at`, the position of the activity that owns each.

    Args:
        activities: By start, with `start_ns`, `end_ns` and `class`.
        order: Classes, the ones that take shared time first.
    """
    spans = activities.select("class", "start_ns", "end_ns").with_row_index("at")
    taken, pieces = intervals.empty(), [intervals.empty().with_columns(at=pl.lit(0, pl.UInt32))]
    for name in order:
        mine = _without_repeats(spans.filter(pl.col("class") == name))
        mine = mine.filter(pl.col("end_ns") > pl.col("start_ns"))
        if mine.is_empty():
            continue
        free = intervals.subtract(mine, taken)
        pieces.append(free.join_asof(mine.select("start_ns", "at"), on="start_ns"))
        taken = intervals.merge(pl.concat([taken, mine.select("start_ns", "end_ns")]))
    return pl.concat(pieces).sort("start_ns")


def _without_repeats(spans: pl.DataFrame) -> pl.DataFrame:
    """Cut from each span what an earlier one of its class covers already."""
    reached = pl.col("end_ns").cum_max().shift(1).fill_null(pl.col("start_ns"))
    start = pl.min_horizontal(pl.max_horizontal("start_ns", reached), "end_ns")
    return spans.with_columns(start_ns=start)
