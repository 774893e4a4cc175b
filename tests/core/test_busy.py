"""Busy time, its owners and the gaps in it against a model that goes through every nanosecond."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mmprof.analyzers import busy, intervals

ORDER = ("linear", "attention", "communication", "other")
Span = tuple[int, int, str]
SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 15), st.sampled_from(ORDER)).map(
        lambda s: (s[0], s[0] + s[1], s[2])
    ),
    max_size=14,
)


def activities(spans: list[Span]) -> pl.DataFrame:
    frame = pl.DataFrame(spans, schema={**intervals.SCHEMA, "class": pl.String}, orient="row")
    return (
        frame.sort("start_ns", maintain_order=True)
        .with_row_index("row")
        .with_columns(span=pl.lit(0, pl.Int64))
    )


def owners(rows: list[dict[str, Any]]) -> list[int]:
    """Nanoseconds that each activity owns: at any time the first class in order, then the earliest start, has it."""
    owned = [0] * len(rows)
    for at in range(60):
        here = [n for n, row in enumerate(rows) if row["start_ns"] <= at < row["end_ns"]]
        if here:
            owned[min(here, key=lambda n: (ORDER.index(rows[n]["class"]), n))] += 1
    return owned


@given(SPANS)
def test_each_nanosecond_has_one_owner(spans: list[Span]) -> None:
    frame = activities(spans)
    owned = busy.own(frame, ORDER)
    assert owned.to_list() == owners(frame.to_dicts())
    assert owned.sum() == intervals.union_length(frame)


@given(SPANS)
def test_owned_times_sum_to_busy_under_any_grouping(spans: list[Span]) -> None:
    frame = activities(spans)
    grouped = (
        frame.with_columns(own=busy.own(frame, ORDER)).group_by("class").agg(pl.col("own").sum())
    )
    assert grouped["own"].sum() == intervals.union_length(frame)
    assert (grouped["own"] >= 0).all()


@given(SPANS)
def test_gaps_are_the_rest_of_the_window(spans: list[Span]) -> None:
    frame = activities(spans)
    window = busy.windows(frame)
    gaps = busy.gaps(frame, window)
    assert intervals.length(gaps) + intervals.union_length(frame) == intervals.length(window)
    starts = dict(frame.select("row", "start_ns").rows())
    assert all(starts[row] == end for row, end in gaps.select("row", "end_ns").rows())


def test_a_gap_ends_with_what_lasts() -> None:
    frame = activities([(0, 10, "other"), (20, 20, "other"), (20, 30, "other"), (15, 15, "other")])
    assert busy.gaps(frame, busy.windows(frame)).rows() == [(10, 20, 3)]


def test_an_empty_activity_ends_the_window_and_its_gap() -> None:
    frame = activities([(0, 10, "other"), (25, 25, "other")])
    assert busy.gaps(frame, busy.windows(frame)).rows() == [(10, 25, 1)]


def test_each_span_has_its_own_window() -> None:
    frame = activities([(0, 5, "other"), (8, 10, "other"), (50, 60, "other")])
    split = frame.with_columns(span=pl.Series([0, 0, 1]))
    assert busy.windows(split).rows() == [(0, 10), (50, 60)]
    assert busy.gaps(split, busy.windows(split)).select("start_ns", "end_ns").rows() == [(5, 8)]


def test_nothing_is_busy_in_nothing() -> None:
    frame = activities([])
    assert busy.windows(frame).is_empty()
    assert busy.gaps(frame, busy.windows(frame)).is_empty()
    assert busy.own(frame, ORDER).is_empty()
