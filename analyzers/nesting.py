"""Which event contains which on a host thread.

Kineto writes no parents; nesting is read from the times. An event's parent is the innermost earlier event of its thread
that is still open when it starts. Real traces break nesting in a few rows (contexts that Python enters in one call and
leaves in another, pybind, rounding to microseconds). Where an event ends after its parent, one of the two is cut:

- a Python frame, at the start of an operator or annotation most of which lies after the frame's end: the frame was an
  `__enter__` that opened a context, and does not contain what runs in it;
- else the event, at its parent's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from mmprof.analyzers import intervals

# Events with the same span: what Python opened contains what the dispatcher opened contains the runtime call.
_OUTER_FIRST: Final = {"python": 0, "annotation": 1, "operator": 2, "runtime": 3, "driver": 4}
_OPENED_BY_PYTHON: Final = ("annotation", "operator")
_KEY_LIMIT: Final = 2**61
_GROUP_LIMIT: Final = 2**20
_ROUNDS: Final = 16
_ROWS_PER_CLIMBING_ROUND: Final = 10_000


def nest(host: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Order host events and find their parents.

    Args:
        host: Columns `thread` (uint32), `kind`, `start_ns`, `dur_ns`; one row an event, any order.

    Returns:
        The frame sorted by thread and time with `row`, `end_ns` (after cutting), `parent` (a row or null), and the number
        of events that had to be cut.
    """
    ordered = _numbered(host[_order(host)])
    if ordered.is_empty():
        return ordered.with_columns(parent=pl.Series("parent", [], dtype=pl.UInt32)), 0
    until = ordered.select(_open_until()).to_series()
    for _ in range(_ROUNDS):
        parent = _parents_by_depth(ordered, until)
        crossing = (until > until[parent]).fill_null(value=False)
        if not crossing.any():
            return _closed(ordered, until, parent)
        until = _cut_outermost(ordered, until, parent, crossing.arg_true())
    return _closed(ordered, *_nest_by_stack(ordered, until))


def _numbered(host: pl.DataFrame) -> pl.DataFrame:
    return host.with_columns(end_ns=pl.col("start_ns") + pl.col("dur_ns")).with_row_index("row")


def _order(host: pl.DataFrame) -> pl.Series:
    """The rows by thread, start, end (the last first), what contains what, and place in the file."""
    outer_first = pl.col("kind").replace_strict(_OUTER_FIRST, default=2, return_dtype=pl.Int8)
    by = (-pl.col("dur_ns"), outer_first, pl.col("event"))
    return rows_in_order(host["thread"], host["start_ns"], host, by)


def rows_in_order(
    group: pl.Series, start: pl.Series, ties: pl.DataFrame, by: Sequence[pl.Expr]
) -> pl.Series:
    """The rows of events by a small number, start, and what `by` makes of the columns of `ties`.

    Few events of a thread or a device start at the same time: sorting by one number, and these few by the rest, takes a
    quarter of the time of sorting by all.
    """
    if group.is_empty():
        return pl.Series([], dtype=pl.get_index_type())
    groups = group.cast(pl.Int64)
    if max(abs(int(groups.min())), abs(int(groups.max()))) > _GROUP_LIMIT:  # type: ignore[arg-type]
        groups = groups.rank("dense").cast(pl.Int64)
    (key,) = _one_axis(groups - groups.min(), start)
    rows = key.arg_sort()
    repeated = key[rows]
    repeated = repeated == repeated.shift(1)
    at = (repeated | repeated.shift(-1)).fill_null(value=False).arg_true()
    if at.is_empty():
        return rows
    tied = rows[at]
    together = ties[tied].with_columns(key[tied].alias("key"), tied.alias("row"))
    return rows.scatter(at, together.sort("key", *by)["row"])


def _closed(ordered: pl.DataFrame, until: pl.Series, parent: pl.Series) -> tuple[pl.DataFrame, int]:
    cut = (until < ordered["end_ns"]).sum()
    end_ns = pl.select(pl.min_horizontal(ordered["end_ns"], until)).to_series()
    return ordered.with_columns(end_ns.alias("end_ns"), parent.alias("parent")), int(cut)


def _parents_by_depth(ordered: pl.DataFrame, until: pl.Series) -> pl.Series:
    """Parents of properly nested events, without a loop.

    The depth of an event is the number of events opened before it less those closed until it starts; its parent is the
    last event before it with a depth one less.
    """
    start, end = _one_axis(ordered["thread"].cast(pl.Int64), ordered["start_ns"], until)
    row = pl.int_range(len(ordered), dtype=pl.Int64, eager=True)
    return _last_one_level_up(row - intervals.count_until(end.sort(), start))


def _one_axis(thread: pl.Series, *times: pl.Series) -> list[pl.Series]:
    """Times on one axis for all threads, those of a thread after those of the thread before; ranks where they are too long."""
    count, first, last = int(thread.max()) + 1, *_span(times)  # type: ignore[arg-type]
    if (last - first + 1) * count > _KEY_LIMIT:
        ranks = pl.concat(times).rank("dense").cast(pl.Int64)
        times = tuple(ranks.slice(at * len(thread), len(thread)) for at in range(len(times)))
        first, last = _span(times)
    offset = thread * (last - first + 1) - first
    return [offset + column for column in times]


def _span(times: Sequence[pl.Series]) -> tuple[int, int]:
    return min(int(t.min()) for t in times), max(int(t.max()) for t in times)  # type: ignore[arg-type]


def _last_one_level_up(depth: pl.Series) -> pl.Series:
    """For each row the last row before it whose depth is one less; null at depth 0.

    Depth starts at 0 and rises by one at most. Where it rises, that is the row before; where it stays, what the row before
    has. Only where it falls the row is looked for, among those that open a level; at depth 0 none is, whatever was found.
    """
    count = len(depth)
    row = pl.int_range(count, dtype=pl.Int64, eager=True)
    before = depth.shift(1, fill_value=-1)
    rises, falls = depth > before, (depth < before).arg_true()
    key = depth * count + row
    opening = key.filter(rises.shift(-1, fill_value=False)).sort()
    found = opening[opening.search_sorted(key[falls] - count, side="left").cast(pl.Int64) - 1]
    parent = (row - 1).set(~rises, None).scatter(falls, found % count)
    filled = parent.fill_null(strategy="forward").set(depth == 0, None)
    return filled.cast(pl.UInt32).alias("parent")


def _open_until() -> pl.Expr:
    """An empty event is open for an instant, so that events at one time stay in a defined order."""
    return pl.max_horizontal("end_ns", pl.col("start_ns") + 1)


class _Open(NamedTuple):
    """An event that is open: its row and span, and whether it is a Python frame."""

    row: int
    start: int
    until: int
    python: bool


def _settle(around: list[_Open], start: int, until: int, closes: dict[int, int] | None) -> int:
    """When an event closes that starts inside others.

    Args:
        around: The open events, outermost first; frames that opened the event are taken off.
        start: Start of the event.
        until: When it closes if it is not cut.
        closes: Where to write that frames which opened the event close; None where no frame can have opened it.
    """
    while around and until > (outer := around[-1]).until:
        mostly_outside = until - outer.until > outer.until - start
        if closes is None or not (outer.python and outer.start < start and mostly_outside):
            return outer.until
        closes[outer.row] = start
        around.pop()
    return until


def _cut_outermost(
    ordered: pl.DataFrame, until: pl.Series, parent: pl.Series, crossing: pl.Series
) -> pl.Series:
    """When events close after the outermost of the crossings are settled.

    A crossing gives wrong depths to events that start while it lasts, so these are left to the next round: what starts
    when all crossings before are closed has its right parent, and each round settles at least one.
    """
    start, end = _one_axis(ordered["thread"].cast(pl.Int64), ordered["start_ns"], until)
    still_open = end[crossing].cum_max().shift(1, fill_value=-1)
    starts, (python, opened) = ordered["start_ns"], _roles(ordered)
    closes: dict[int, int] = {}
    for row in crossing.filter(start[crossing] >= still_open).to_list():
        around: list[_Open] = []
        outer = parent[row]
        while outer is not None:
            around.append(_Open(outer, starts[outer], until[outer], python[outer]))
            outer = parent[outer] if until[outer] < until[row] else None
        closed = _settle(around[::-1], starts[row], until[row], closes if opened[row] else None)
        if closed < until[row]:
            closes[row] = closed
    return until.scatter(list(closes), list(closes.values()))


def _nest_by_stack(ordered: pl.DataFrame, until: pl.Series) -> tuple[pl.Series, pl.Series]:
    """When events close and their parents, by the definition: one pass with a stack."""
    python, opened = _roles(ordered)
    parents: list[int | None] = []
    closes: dict[int, int] = {}
    around: list[_Open] = []
    thread_now = None
    columns = ordered.select("thread", "start_ns", until=until, python=python, opened=opened)
    for row, (thread, start, event_until, is_python, is_opened) in enumerate(columns.iter_rows()):
        if thread != thread_now:
            around, thread_now = [], thread
        while around and around[-1].until <= start:
            around.pop()
        closed = _settle(around, start, event_until, closes if is_opened else None)
        if closed < event_until:
            closes[row] = closed
        parents.append(around[-1].row if around else None)
        around.append(_Open(row, start, closed, is_python))
    return until.clone().scatter(list(closes), list(closes.values())), pl.Series(
        parents, dtype=pl.UInt32
    )


def _roles(ordered: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Which events are Python frames, and which a frame can have opened."""
    kind = ordered["kind"].cast(pl.String)
    return kind == "python", kind.is_in(_OPENED_BY_PYTHON)


def climb(parent: pl.Series, start: pl.Series, accepted: pl.Series) -> pl.Series:
    """For each start row, the innermost row among itself and its ancestors that is accepted; null if none.

    Args:
        parent: Parent row of every row, null at the top.
        start: Rows to start from, may hold nulls.
        accepted: Whether a row is accepted, for every row.

    Each round climbs one level for the rows that are not yet done; nearly all are after two. The few that are left after
    some rounds stand in a deep recursion, through which `above` goes faster; in a small table that is soon.
    """
    result = start.cast(pl.UInt32).alias("row")
    at = (~accepted[result]).arg_true()
    for _ in range(2 + len(parent) // _ROWS_PER_CLIMBING_ROUND):
        if not len(at):
            return result
        rows = parent[result[at]]
        result = result.scatter(at, rows)
        at = at.filter(~accepted[rows])
    return result.scatter(at, above(parent, accepted)[result[at]])


def above(parent: pl.Series, accepted: pl.Series) -> pl.Series:
    """For every row its nearest accepted strict ancestor; null if none.

    Each round doubles the reach of every row, so that deep Python stacks take a few rounds.
    """
    reached = parent
    while True:
        pending = ~accepted[reached]
        if not pending.any():
            return reached
        reached = reached[reached].zip_with(pending, reached)
