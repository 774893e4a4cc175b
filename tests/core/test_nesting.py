"""Parents from times: the fast way by depths against the definition, event by event with a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprof.analyzers import nesting

KINDS = ("python", "annotation", "operator", "runtime", "driver")
SCHEMA: dict[str, Any] = {
    "thread": pl.UInt32,
    "start_ns": pl.Int64,
    "dur_ns": pl.Int64,
    "kind": pl.Enum(KINDS),
    "event": pl.UInt32,
}


class Row(NamedTuple):
    """A host event."""

    thread: int
    start: int
    dur: int
    kind: str = "operator"


def nested(rows: Sequence[Row]) -> tuple[pl.DataFrame, int]:
    data = [(*row, event) for event, row in enumerate(rows)]
    return nesting.nest(pl.DataFrame(data, schema=SCHEMA, orient="row"))


class Defined(NamedTuple):
    """What the definition says of events in order."""

    parents: list[int | None]
    ends: list[int]
    cut: int


def defined(ordered: pl.DataFrame) -> Defined:
    """Parents and ends by the rules of the module, one event at a time, on plain numbers."""
    parents: list[int | None] = []
    closes: list[int] = []
    stack: list[int] = []
    rows = [Row(*row) for row in ordered.select("thread", "start_ns", "dur_ns", "kind").rows()]
    for at, row in enumerate(rows):
        closes.append(row.start + max(row.dur, 1))
        stack = [s for s in stack if rows[s].thread == row.thread and closes[s] > row.start]
        while stack and closes[at] > closes[stack[-1]]:
            outer = stack[-1]
            inside, outside = closes[outer] - row.start, closes[at] - closes[outer]
            opener = row.kind in {"operator", "annotation"} and rows[outer].kind == "python"
            if opener and rows[outer].start < row.start and outside > inside:
                closes[outer] = row.start
                stack.pop()
            else:
                closes[at] = closes[outer]
        parents.append(stack[-1] if stack else None)
        stack.append(at)
    ends = [min(row.start + row.dur, close) for row, close in zip(rows, closes, strict=True)]
    cut = sum(end < row.start + row.dur for row, end in zip(rows, ends, strict=True))
    return Defined(parents, ends, cut)


def assert_as_defined(rows: Sequence[Row]) -> None:
    found, cut = nested(rows)
    expected = defined(found)
    assert found["parent"].to_list() == expected.parents
    assert found["end_ns"].to_list() == expected.ends
    assert cut == expected.cut


EVENTS = st.builds(
    Row, st.integers(0, 2), st.integers(0, 30), st.integers(0, 20), st.sampled_from(KINDS)
)


@st.composite
def forests(draw: st.DrawFn, low: int = 0, high: int = 60, depth: int = 4) -> list[Row]:
    """Properly nested events of one thread: siblings follow each other, children lie inside."""
    rows: list[Row] = []
    at = low
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(at, high))
        end = draw(st.integers(start, high))
        rows.append(Row(0, start, end - start))
        if depth and end > start:
            rows += draw(forests(start, end, depth - 1))
        at = end
    return rows


@given(forests(), st.randoms(use_true_random=False))
def test_nested_events_need_no_cut_in_any_order(rows: list[Row], rnd: object) -> None:
    rnd.shuffle(rows)  # type: ignore[attr-defined]
    assert_as_defined(rows)
    assert nested(rows)[1] == 0


@given(st.lists(EVENTS, max_size=25))
def test_crossing_events_are_cut_as_defined(rows: list[Row]) -> None:
    assert_as_defined(rows)


@given(st.lists(EVENTS, max_size=40))
def test_what_was_cut_is_nested(rows: list[Row]) -> None:
    found, _ = nested(rows)
    inner = found.filter(pl.col("parent").is_not_null())
    outer = found[inner["parent"]]
    assert (inner["thread"] == outer["thread"]).all()
    assert (inner["parent"] < inner["row"]).all()
    assert (inner["start_ns"] >= outer["start_ns"]).all()
    assert (inner["end_ns"] <= outer["end_ns"].clip(lower_bound=outer["start_ns"] + 1)).all()
    assert (found["end_ns"] >= found["start_ns"]).all()
    assert (found["end_ns"] <= found["start_ns"] + found["dur_ns"]).all()
    siblings = found.filter(pl.col("dur_ns") > 0).group_by("thread", "parent", maintain_order=True)
    for _, group in siblings:
        assert (group["start_ns"] >= group["end_ns"].shift(1)).all()


@given(
    st.lists(EVENTS, min_size=1, max_size=12),
    st.sampled_from([2**60, -(2**60), 1_776_000_000_000_000_000]),
)
def test_far_times_change_nothing(rows: list[Row], shift: int) -> None:
    near, far = nested(rows)[0], nested([row._replace(start=row.start + shift) for row in rows])[0]
    assert near["parent"].equals(far["parent"])
    assert (near["end_ns"] + shift).equals(far["end_ns"])


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_one_far_event_changes_nothing_on_other_threads(rows: list[Row]) -> None:
    """The axis of all threads is then too long for int64, and ranks stand for times."""
    far = [Row(9, -(2**61) + 1, 1), Row(9, 2**61 - 5, 3)]
    assert_as_defined([*rows, *far])


@settings(max_examples=30)
@given(st.lists(EVENTS, max_size=30))
def test_the_stack_gives_the_same_when_rounds_run_out(rows: list[Row]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "_ROUNDS", 0)
        assert_as_defined(rows)


def names_of_parents(rows: Sequence[Row]) -> list[int | None]:
    """For each event, in the order given, the event that contains it."""
    found, _ = nested(rows)
    events = dict(found.select("row", "event").rows())
    return [events.get(parent) for _, parent in sorted(found.select("event", "parent").rows())]


def test_a_context_is_not_cut_at_the_end_of_the_call_that_opened_it() -> None:
    """record_function: `__enter__` returns while its annotation goes on, and `__exit__` ends it."""
    rows = [
        Row(0, 0, 1000, "python"),  # train.py: main
        Row(0, 10, 20, "python"),  # __enter__
        Row(0, 15, 14, "python"),  # _record_function_enter
        Row(0, 25, 500, "annotation"),  # from 25 to 525
        Row(0, 100, 50, "operator"),
        Row(0, 520, 10, "python"),  # __exit__
        Row(0, 600, 50, "operator"),
    ]
    assert names_of_parents(rows) == [None, 0, 1, 0, 3, 3, 0]
    found, cut = nested(rows)
    assert found["end_ns"].to_list() == [1000, 25, 25, 525, 150, 525, 650]
    assert cut == 3


def test_an_operator_that_ends_a_little_late_is_cut_and_keeps_its_module() -> None:
    """Times rounded to microseconds: the module's frame contains it."""
    rows = [Row(0, 0, 100, "python"), Row(0, 5, 96, "operator"), Row(0, 50, 51, "runtime")]
    assert names_of_parents(rows) == [None, 0, 1]
    assert nested(rows)[0]["end_ns"].to_list() == [100, 100, 100]


def test_equal_spans_nest_as_the_software_does() -> None:
    rows = [
        Row(0, 5, 10, kind) for kind in ("driver", "runtime", "operator", "annotation", "python")
    ]
    assert names_of_parents(rows) == [1, 2, 3, 4, None]


def test_empty_events_lie_in_what_is_open() -> None:
    rows = [Row(0, 0, 10), Row(0, 10, 0), Row(0, 5, 0), Row(0, 5, 0, "runtime"), Row(0, 0, 0)]
    assert names_of_parents(rows) == [None, None, 0, 2, 0]


def test_threads_do_not_contain_each_other() -> None:
    assert names_of_parents([Row(0, 0, 100), Row(1, 10, 10), Row(2, 12, 3)]) == [None, None, None]


def test_no_events() -> None:
    found, cut = nested([])
    assert (len(found), cut) == (0, 0)
    assert found["parent"].dtype == pl.UInt32


# --- climbing -----------------------------------------------------------------------------------------------------


@given(st.lists(EVENTS, min_size=1, max_size=20), st.data())
def test_climb_finds_the_innermost_accepted_ancestor(rows: list[Row], data: st.DataObject) -> None:
    found, _ = nested(rows)
    count = len(found)
    accepted = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    starts = data.draw(st.lists(st.none() | st.integers(0, count - 1)))
    climbed = nesting.climb(
        found["parent"], pl.Series(starts, dtype=pl.UInt32), pl.Series(accepted)
    )
    parents = found["parent"].to_list()

    def innermost(row: int | None) -> int | None:
        while row is not None and not accepted[row]:
            row = parents[row]
        return row

    assert climbed.to_list() == [innermost(row) for row in starts]


@pytest.mark.parametrize("depth", [10, 64, 65, 66, 5_000])
def test_climbing_out_of_a_deep_recursion(depth: int) -> None:
    parent = pl.Series([None, *range(depth)], dtype=pl.UInt32)
    accepted = pl.Series([True, *([False] * depth)])
    start = pl.Series([depth, 0, None, 5], dtype=pl.UInt32)
    assert nesting.climb(parent, start, accepted).to_list() == [0, 0, None, 0]
    nowhere = pl.Series([False] * (depth + 1))
    assert nesting.climb(parent, start, nowhere).to_list() == [None, None, None, None]


def test_groups_may_have_any_number() -> None:
    group = pl.Series([2**62, 1, 1, -(2**62)])
    start = pl.Series([0, 5, 3, 9])
    ties = pl.DataFrame({"event": [0, 1, 2, 3]})
    order = nesting.rows_in_order(group, start, ties, [pl.col("event")])
    assert order.to_list() == [3, 2, 1, 0]
