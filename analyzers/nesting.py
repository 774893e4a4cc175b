"""Which event contains which on a host thread.

Kineto writes no parents; nesting is read from the times. An event's parent is the innermost earlier event of its thread
that is still open when it starts. Real traces break nesting in a few rows (the profiler's own frames, pybind, rounding
to microseconds): such a child is cut at its parent's end.
"""

from __future__ import annotations

from typing import Final

import polars as pl

# Events with the same span: what Python opened contains what the dispatcher opened contains the runtime call.
_OUTER_FIRST: Final = {"python": 0, "annotation": 1, "operator": 2, "runtime": 3, "driver": 4}
_KEY_LIMIT: Final = 2**61


def nest(host: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Order host events and find their parents.

    Args:
        host: Columns `thread` (uint32), `kind`, `start_ns`, `dur_ns`; one row an event, any order.

    Returns:
        The frame sorted by thread and time with `row`, `end_ns` (cut at the parent's end), `parent` (a row or null), and
        the number of events that had to be cut.
    """
    ordered = (
        host.with_columns(
            order=pl.col("kind").cast(pl.String).replace_strict(_OUTER_FIRST, default=2, return_dtype=pl.Int8),
            end_ns=pl.col("start_ns") + pl.col("dur_ns"),
        )
        .sort(["thread", "start_ns", "end_ns", "order", "event"], descending=[False, False, True, False, False])
        .drop("order")
        .with_row_index("row")
    )
    if ordered.is_empty():
        return ordered.with_columns(parent=pl.Series("parent", [], dtype=pl.UInt32)), 0
    until = ordered.select(_open_until()).to_series()
    parent = _parents_by_depth(ordered, until)
    crossing = (until > until.gather(parent)).fill_null(value=False)
    if not crossing.any():
        return ordered.with_columns(parent=parent), 0
    return _cut_crossing(ordered.with_columns(parent=parent), until, crossing.arg_true().to_list())


def _parents_by_depth(ordered: pl.DataFrame, until: pl.Series) -> pl.Series:
    """Parents of properly nested events, without a loop.

    The depth of an event is the number of events opened before it less those closed until it starts; its parent is the
    last event before it with a depth one less.
    """
    start, end = _one_axis(ordered["thread"].cast(pl.Int64), ordered["start_ns"], until)
    depth = pl.int_range(len(ordered), dtype=pl.Int64, eager=True) - end.sort().search_sorted(start, side="right")
    return _last_one_level_up(depth)


def _one_axis(thread: pl.Series, start: pl.Series, end: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Times on one axis for all threads, those of a thread after those of the thread before; ranks where they are too long."""
    first, last = int(start.min()), int(end.max())  # type: ignore[arg-type]
    if (last - first + 1) * (int(thread.max()) + 1) > _KEY_LIMIT:  # type: ignore[arg-type]
        ranks = pl.concat([start, end]).rank("dense").cast(pl.Int64)
        start, end = ranks.head(len(start)), ranks.tail(len(end))
        first, last = 1, len(ranks)
    offset = thread * (last - first + 1) - first
    return start + offset, end + offset


def _last_one_level_up(depth: pl.Series) -> pl.Series:
    """For each row the last row before it whose depth is one less; null at depth 0."""
    count = len(depth)
    key = depth * count + pl.int_range(count, dtype=pl.Int64, eager=True)
    ordered = key.sort()
    found = ordered.search_sorted(key - count, side="left").cast(pl.Int64) - 1
    row = ordered.gather(found.clip(0)) % count
    return pl.select(pl.when(depth > 0).then(row)).to_series().cast(pl.UInt32).alias("parent")


def _open_until() -> pl.Expr:
    """An empty event is open for an instant, so that events at one time stay in a defined order."""
    return pl.max_horizontal("end_ns", pl.col("start_ns") + 1)


def _cut_crossing(ordered: pl.DataFrame, until: pl.Series, crossing: list[int]) -> tuple[pl.DataFrame, int]:
    """Cut events that end after their parent, and give the events around them their parents anew.

    Args:
        ordered: All events, with the `parent` that their depth gives.
        until: When each event closes.
        crossing: Rows that close after that parent. Up to the first of them every parent is right, and again from where
            all that was opened since is closed, cut or not: only the events in between are gone through with a stack.
    """
    columns = ordered.select("row", "thread", "start_ns", "end_ns", until=until)
    found: list[tuple[int, int | None, int]] = []
    cut, done = 0, 0
    for row in crossing:
        if row >= done:
            cut += _go_through(columns, _ancestors(ordered["parent"], until, row), row, found)
            done = found[-1][0] + 1
    rows, parents, ends = zip(*found, strict=True)
    return ordered.with_columns(
        end_ns=ordered["end_ns"].scatter(rows, ends), parent=ordered["parent"].scatter(rows, parents)
    ), cut


def _ancestors(parent: pl.Series, until: pl.Series, row: int) -> list[tuple[int, int]]:
    """The events around a row, outermost first: (row, when it closes)."""
    around: list[tuple[int, int]] = []
    outer = parent[row]
    while outer is not None:
        around.append((outer, until[outer]))
        outer = parent[outer]
    return around[::-1]


def _go_through(
    columns: pl.DataFrame, stack: list[tuple[int, int]], first: int, found: list[tuple[int, int | None, int]]
) -> int:
    """Append (row, parent, end) of each event from `first` on that a cut may concern; the number of events cut."""
    thread, closed_at, cut = columns["thread"][first], 0, 0
    for row, on_thread, start, end, until in columns.slice(first).iter_rows():
        while stack and stack[-1][1] <= start:
            stack.pop()
        alone = not stack or stack[-1][0] < first
        if on_thread != thread or (row > first and alone and start >= closed_at):
            break
        limit = stack[-1][1] if stack else until
        if until > limit:
            cut, closed_at = cut + 1, max(closed_at, until)
        found.append((row, stack[-1][0] if stack else None, min(end, limit)))
        stack.append((row, min(until, limit)))
    return cut


def climb(parent: pl.Series, start: pl.Series, accepted: pl.Series) -> pl.Series:
    """For each start row, the innermost row among itself and its ancestors that is accepted; null if none.

    Args:
        parent: Parent row of every row, null at the top.
        start: Rows to start from, may hold nulls.
        accepted: Whether a row is accepted, for every row.

    Each round climbs one level for the rows that are not yet done; nearly all are after two.
    """
    result = start.cast(pl.UInt32)
    while True:
        pending = result.is_not_null() & ~accepted.gather(result).fill_null(value=True)
        if not pending.any():
            return result
        result = pl.select(pl.when(pending).then(parent.gather(result)).otherwise(result)).to_series()
