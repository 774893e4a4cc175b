"""Why the device waited: every idle gap cut into causes.

A gap ends with an activity K whose launch call lasted [l0, l1) on thread T. Before l0 the state of T is the cause;
between l0 and l1 it is the launch call; after l1, K was launched and did not start: it waited for another stream, for
its place in a graph, or in the queue.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.hostwork import STATES, HostWork

CAUSES: Final = (*STATES, "python", "launch", "dependency", "graph", "queue", "outside", "unknown")
_GAP: Final = ("start_ns", "end_ns", "row")


def causes(
    gaps: pl.DataFrame, activities: pl.DataFrame, outside: pl.DataFrame, host: HostWork
) -> pl.DataFrame:
    """Cut gaps into causes.

    Args:
        gaps: `start_ns`, `end_ns` and `row`, the activity that ends the gap (null: none).
        activities: The window's activities with `row`, `stream`, `launch`, `thread`, `launch_start_ns`, `launch_end_ns`.
        outside: Union of the time in which the device ran something else: carry-in, or work of other steps.
        host: What the host did.

    Returns:
        The gaps with one int64 column of nanoseconds per cause; each row sums to its gap's length.
    """
    if intervals.overlap_length(gaps, outside) == 0:
        nothing = pl.lit(0, pl.Int64).alias("outside")
        return _cut(gaps, activities, host).with_columns(nothing).select(*_GAP, *CAUSES)
    free = intervals.subtract(gaps, outside)
    pieces = free.join_asof(gaps.select("start_ns", "row", gap="start_ns"), on="start_ns")
    summed = _cut(pieces.drop("gap"), activities, host).with_columns(pieces.sort("start_ns")["gap"])
    parts = summed.group_by("gap").agg(pl.col(c for c in CAUSES if c != "outside").sum())
    whole = gaps.join(
        parts, left_on="start_ns", right_on="gap", how="left", maintain_order="left"
    ).fill_null(0)
    rest = (
        pl.col("end_ns")
        - pl.col("start_ns")
        - pl.sum_horizontal(c for c in CAUSES if c != "outside")
    )
    return whole.with_columns(gaps["row"], outside=rest).select(*_GAP, *CAUSES).sort("start_ns")


def _cut(gaps: pl.DataFrame, activities: pl.DataFrame, host: HostWork) -> pl.DataFrame:
    """The gaps with every cause but `outside`, by start."""
    cut = at_launch(gaps, activities, host)
    start, end = pl.col("start_ns"), pl.col("end_ns")
    known = pl.col("launch").is_not_null()
    measured = cut.with_columns(
        launch_call=pl.when(known)
        .then(pl.col("launch_until") - pl.col("launch_from"))
        .otherwise(0),
        after=pl.when(known).then(end - pl.col("launch_until")).otherwise(0),
        unknown=pl.when(known).then(0).otherwise(end - start),
        launch_from=pl.when(known).then("launch_from").otherwise(start),
    )
    by_thread = measured.partition_by("thread", as_dict=True) or {(None,): measured}
    states = pl.concat(
        [_states_before_launch(part, thread, host) for (thread,), part in by_thread.items()]
    )
    after = (
        pl.when(pl.col("after_launch") == w).then("after").otherwise(0).alias(w)
        for w in ("dependency", "graph", "queue")
    )
    return states.with_columns(pl.col("launch_call").alias("launch"), *after).sort("start_ns")


def at_launch(gaps: pl.DataFrame, activities: pl.DataFrame, host: HostWork) -> pl.DataFrame:
    """The gaps by start, with the launch of the activity that ends each, cut at it.

    Args:
        gaps: `start_ns`, `end_ns` and `row`, the activity that ends the gap (null: none).
        activities: The window's activities, as for `causes`.
        host: What the host did.

    Returns:
        The gaps with `launch`, `thread`, `launch_from` and `launch_until` (the part of the launch call that lies in the
        gap; no part without a launch) and `after_launch`, the cause of what comes after it.
    """
    waiting = gaps.join(
        activities.select("row", "stream", "launch", "thread", "launch_start_ns", "launch_end_ns"),
        on="row",
        how="left",
    )
    waiting = waiting.sort("start_ns").with_columns(
        after_launch=_after_launch_cause(waiting, activities, host)
    )
    start, end = pl.col("start_ns"), pl.col("end_ns")
    return waiting.with_columns(
        launch_from=pl.min_horizontal(pl.max_horizontal("launch_start_ns", start), end),
        launch_until=pl.min_horizontal(pl.max_horizontal("launch_end_ns", start), end),
    )


def _states_before_launch(gaps: pl.DataFrame, thread: int | None, host: HostWork) -> pl.DataFrame:
    """Nanoseconds of each gap before its launch in each state of the launching thread."""
    before = pl.Series([0], dtype=pl.Int64).new_from_index(0, len(gaps))
    columns, known = [], intervals.empty()
    for state, union in host.states(thread) if thread is not None else ():
        covered = before
        if union is not known:  # a state that the thread was never in adds nothing
            until = intervals.covered_before(union, gaps["launch_from"])
            covered, known = until - intervals.covered_before(union, gaps["start_ns"]), union
        columns.append((covered - before).alias(state))
        before = covered
    missing = [pl.lit(0, pl.Int64).alias(s) for s in STATES[len(columns) :]]
    total = gaps["launch_from"] - gaps["start_ns"]
    return gaps.with_columns(*columns, *missing, (total - before).alias("python"))


def _after_launch_cause(
    waiting: pl.DataFrame, activities: pl.DataFrame, host: HostWork
) -> pl.Series:
    """What an activity waits for once it is launched: its graph, another stream's event, or just the queue."""
    first_of_launch = (
        activities.filter(pl.col("launch").is_not_null())
        .group_by("launch")
        .agg(first=pl.col("row").min())
    )
    dependent = _waits_for_stream(activities, host)
    return (
        waiting.sort("start_ns")
        .join(first_of_launch, on="launch", how="left", maintain_order="left")
        .select(
            after_launch=pl.when(pl.col("row") > pl.col("first"))
            .then(pl.lit("graph"))
            .when(pl.col("row").is_in(dependent.implode()))
            .then(pl.lit("dependency"))
            .otherwise(pl.lit("queue"))
        )
        .to_series()
    )


def _waits_for_stream(activities: pl.DataFrame, host: HostWork) -> pl.Series:
    """Activities with a stream wait on their stream between the previous launch to it and their own."""
    waits = host.trace.syncs.filter(
        pl.col("wait_on_stream").is_not_null() & (pl.col("stream") >= 0)
    )
    empty = pl.Series("row", [], dtype=pl.UInt32)
    if (
        waits.is_empty() or "device" not in activities.columns
    ):  # operators of the host wait for no stream
        return empty
    calls = host.trace.host.filter(pl.col("correlation").is_not_null()).select(
        "correlation", asked_ns="start_ns"
    )
    asked = (
        waits.join(calls, on="correlation", how="inner")
        .select("device", "stream", "asked_ns")
        .sort("asked_ns")
    )
    launches = activities.filter(pl.col("launch").is_not_null()).select(
        "row", "device", "stream", "launch_start_ns"
    )
    following = asked.join_asof(
        launches.sort("launch_start_ns"),
        left_on="asked_ns",
        right_on="launch_start_ns",
        by=["device", "stream"],
        strategy="forward",
        check_sortedness=False,
    )
    return following["row"].drop_nulls().unique()
