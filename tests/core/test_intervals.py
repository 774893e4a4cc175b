"""Interval arithmetic against the plainest model there is: the set of nanoseconds that intervals hold."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mmprof.analyzers import intervals

HORIZON = 40
TIMES = st.integers(0, HORIZON)
SPANS = st.lists(st.tuples(TIMES, TIMES).map(lambda pair: (min(pair), max(pair))), max_size=12)
SHIFTS = st.sampled_from([0, -5, 1_776_000_000_000_000_000, -(2**60)])


def frame(spans: list[tuple[int, int]], shift: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        [(a + shift, b + shift) for a, b in spans], schema=intervals.SCHEMA, orient="row"
    )


def held(spans: list[tuple[int, int]]) -> set[int]:
    """The nanoseconds of half-open intervals."""
    return {at for start, end in spans for at in range(start, end)}


def rows(union: pl.DataFrame) -> list[tuple[int, int]]:
    return union.select("start_ns", "end_ns").rows()


def assert_union_of(union: pl.DataFrame, expected: set[int]) -> None:
    """The frame holds just the expected nanoseconds, in order, disjoint, with touching intervals merged."""
    found = rows(union)
    assert held(found) == expected
    assert all(start < end for start, end in found)
    assert all(one[1] < two[0] for one, two in pairwise(found))


@given(SPANS)
def test_merge_holds_what_any_interval_holds(spans: list[tuple[int, int]]) -> None:
    assert_union_of(intervals.merge(frame(spans)), held(spans))


@given(SPANS, SHIFTS)
def test_merge_moves_with_its_intervals(spans: list[tuple[int, int]], shift: int) -> None:
    moved = intervals.merge(frame(spans, shift))
    assert rows(moved - shift) == rows(intervals.merge(frame(spans)))


@given(SPANS)
def test_a_union_is_its_own_union(spans: list[tuple[int, int]]) -> None:
    once = intervals.merge(frame(spans))
    assert rows(intervals.merge(once)) == rows(once)
    assert intervals.length(once) == intervals.union_length(frame(spans)) == len(held(spans))


@given(SPANS, SPANS)
def test_intersect_holds_what_both_hold(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    one, two = intervals.merge(frame(left)), intervals.merge(frame(right))
    assert_union_of(intervals.intersect(one, two), held(left) & held(right))
    assert intervals.overlap_length(one, two) == len(held(left) & held(right))


@given(SPANS, SPANS)
def test_subtract_holds_what_only_the_first_holds(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    found = intervals.subtract(intervals.merge(frame(left)), intervals.merge(frame(right)))
    assert_union_of(found, held(left) - held(right))


@given(SPANS, TIMES, TIMES)
def test_gaps_hold_what_is_free_in_the_window(
    spans: list[tuple[int, int]], one: int, other: int
) -> None:
    window = (min(one, other), max(one, other))
    found = intervals.gaps(intervals.merge(frame(spans)), frame([window]))
    assert_union_of(found, set(range(*window)) - held(spans))


@given(SPANS, st.lists(st.integers(-3, HORIZON + 3), max_size=8), SHIFTS)
def test_covered_before_counts_what_is_held_earlier(
    spans: list[tuple[int, int]], times: list[int], shift: int
) -> None:
    union = intervals.merge(frame(spans, shift))
    covered = intervals.covered_before(union, pl.Series([t + shift for t in times], dtype=pl.Int64))
    assert covered.to_list() == [sum(at < time for at in held(spans)) for time in times]


def test_touching_intervals_become_one_and_empty_ones_vanish() -> None:
    assert rows(intervals.merge(frame([(5, 9), (0, 5), (20, 20), (9, 9)]))) == [(0, 9)]


def test_a_long_interval_hides_the_end_of_a_short_one() -> None:
    """The previous interval's end is not how far the ones before reach."""
    assert rows(intervals.merge(frame([(0, 100), (10, 20), (30, 40)]))) == [(0, 100)]


def test_nothing_is_held_by_no_interval() -> None:
    nothing = intervals.empty()
    assert intervals.union_length(nothing) == 0
    assert rows(intervals.gaps(nothing, frame([(3, 8)]))) == [(3, 8)]
    assert intervals.subtract(nothing, frame([(3, 8)])).is_empty()
    assert intervals.covered_before(nothing, pl.Series([7], dtype=pl.Int64)).to_list() == [0]
