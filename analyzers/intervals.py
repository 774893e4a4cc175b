"""Intervals on the time line: every number of mmprof rests on these.

An interval is a pair of int64 nanoseconds, start inclusive and end exclusive, as columns `start_ns` and `end_ns`. A
*union* is a frame of disjoint intervals in order, touching ones merged.
"""

from __future__ import annotations

from typing import Final

import polars as pl

SCHEMA: Final = {"start_ns": pl.Int64, "end_ns": pl.Int64}

_ZERO: Final = pl.Series([0], dtype=pl.Int64)
_WALKED_FROM: Final = 10_000
_NEVER: Final = pl.Series([2**62], dtype=pl.Int64)  # later than any time of a trace


def empty() -> pl.DataFrame:
    """No interval."""
    return pl.DataFrame(schema=SCHEMA)


def merge(intervals: pl.DataFrame) -> pl.DataFrame:
    """The union of intervals that may overlap and come in any order; empty intervals vanish.

    A new piece begins where an interval starts after everything before it has ended: the running maximum of the ends,
    not the previous end, because long intervals contain short ones.
    """
    ordered = (
        intervals.lazy()
        .select("start_ns", "end_ns")
        .filter(pl.col("end_ns") > pl.col("start_ns"))
        .collect()
    )
    if not ordered["start_ns"].is_sorted():
        ordered = ordered.sort("start_ns")
    reached = pl.col("end_ns").cum_max()
    begins = (pl.col("start_ns") > reached.shift(1)).fill_null(value=True)
    return ordered.select(
        pl.col("start_ns").filter(begins), reached.filter(begins.shift(-1, fill_value=True))
    )


def length(union: pl.DataFrame) -> int:
    """Total nanoseconds of disjoint intervals."""
    return int((union["end_ns"] - union["start_ns"]).sum())


def union_length(intervals: pl.DataFrame) -> int:
    """Nanoseconds covered by at least one of the intervals."""
    return length(merge(intervals))


def subtract(union: pl.DataFrame, remove: pl.DataFrame) -> pl.DataFrame:
    """The parts of `union` that are not in `remove`; both are unions."""
    if len(union) <= 1:
        return gaps(remove, union) if len(union) else empty()
    outer = pl.DataFrame(
        {"start_ns": [union["start_ns"].min()], "end_ns": [union["end_ns"].max()]}, schema=SCHEMA
    )
    return intersect(union, gaps(remove, outer))


def gaps(union: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """The parts of a window (one row) that a union leaves free."""
    low, high = int(window["start_ns"][0]), int(window["end_ns"][0])
    edges = union.filter((pl.col("end_ns") > low) & (pl.col("start_ns") < high))
    starts = pl.concat([pl.Series([low], dtype=pl.Int64), edges["end_ns"]])
    ends = pl.concat([edges["start_ns"], pl.Series([high], dtype=pl.Int64)])
    free = pl.DataFrame({"start_ns": starts, "end_ns": ends})
    return free.filter(pl.col("end_ns") > pl.col("start_ns"))


def intersect(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The time that is in both unions."""
    if left.is_empty() or right.is_empty():
        return empty()
    edges = pl.concat(
        [
            pl.concat(
                [
                    u["start_ns"].to_frame("at").with_columns(step=pl.lit(1, pl.Int8))
                    for u in (left, right)
                ]
            ),
            pl.concat(
                [
                    u["end_ns"].to_frame("at").with_columns(step=pl.lit(-1, pl.Int8))
                    for u in (left, right)
                ]
            ),
        ]
    ).sort("at", "step")
    open_after = edges.with_columns(
        depth=pl.col("step").cast(pl.Int32).cum_sum(), until=pl.col("at").shift(-1)
    )
    both = open_after.filter((pl.col("depth") == 2) & (pl.col("until") > pl.col("at")))
    return both.select(start_ns="at", end_ns="until")


def overlap_length(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Nanoseconds that are in both unions."""
    return length(intersect(left, right))


def covered_before(union: pl.DataFrame, times: pl.Series) -> pl.Series:
    """For each time, how many nanoseconds of the union lie before it: its cumulative length.

    The time of a union inside [a, b) is then `covered_before(b) - covered_before(a)`, for any number of queries.
    """
    if union.is_empty():
        return pl.Series("covered", [0], dtype=pl.Int64).new_from_index(0, len(times))
    ended = count_until(union["end_ns"], times)
    before = pl.concat([_ZERO, (union["end_ns"] - union["start_ns"]).cum_sum()])[ended]
    # the span that has not ended yet, which may not have begun either
    begun = pl.concat([union["start_ns"], _NEVER])[ended]
    return (before + (times - begun).clip(0)).rename("covered")


def count_until(ends: pl.Series, times: pl.Series) -> pl.Series:
    """For each time, how many of the ends, which are in order, are no later.

    Many times that are in order are passed in one walk along both, which takes a fifth of searching for each.
    """
    if len(times) < _WALKED_FROM or not times.is_sorted():
        return ends.search_sorted(times, side="right").cast(pl.Int64)
    ended = ends.set_sorted().alias("at").to_frame().with_row_index("count", offset=1)
    passed = times.set_sorted().alias("at").to_frame().join_asof(ended, on="at")
    return passed["count"].fill_null(0).cast(pl.Int64)
