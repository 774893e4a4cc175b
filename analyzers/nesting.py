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
    parents = _parents_by_depth(ordered)
    if parents is not None:
        return ordered.with_columns(parent=parents), 0
    return _nest_by_stack(ordered)


def _parents_by_depth(ordered: pl.DataFrame) -> pl.Series | None:
    """Parents of properly nested events, without a loop; None where some events cross.

    The depth of an event is the number of events opened before it less those closed until it starts; its parent is the
    last event before it with a depth one less.
    """
    if ordered.is_empty():
        return pl.Series("parent", [], dtype=pl.UInt32)
    span = int(ordered["start_ns"].max()) + int(ordered["dur_ns"].max()) + 2 - int(ordered["start_ns"].min())  # type: ignore[arg-type]
    if span * (int(ordered["thread"].max()) + 1) > _KEY_LIMIT:  # type: ignore[arg-type]
        return None
    offset = pl.col("thread").cast(pl.Int64) * span - pl.col("start_ns").min()
    end = ordered.select(_open_until() + offset).to_series()
    start = ordered.select(pl.col("start_ns") + offset).to_series()
    depth = pl.int_range(len(ordered), dtype=pl.Int64, eager=True) - end.sort().search_sorted(start, side="right")
    parent = _last_one_level_up(depth)
    crosses = pl.select((end > end.gather(parent)).any()).item()
    return None if crosses else parent


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


def _nest_by_stack(ordered: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Parents of any events, by the definition: one pass with a stack."""
    parents: list[int | None] = []
    ends: list[int] = []
    stack: list[int] = []
    thread_now, cut = None, 0
    columns = ordered.select("thread", "start_ns", "end_ns", open_until=_open_until())
    for row, (thread, start, end, open_until) in enumerate(columns.iter_rows()):
        if thread != thread_now:
            stack, thread_now = [], thread
            opened: dict[int, int] = {}
        while stack and opened[stack[-1]] <= start:
            opened.pop(stack.pop())
        limit = opened[stack[-1]] if stack else open_until
        cut += end > limit
        parents.append(stack[-1] if stack else None)
        ends.append(min(end, limit))
        opened[row] = min(open_until, limit)
        stack.append(row)
    nested = ordered.with_columns(
        end_ns=pl.Series(ends, dtype=pl.Int64), parent=pl.Series(parents, dtype=pl.UInt32)
    )
    return nested, cut


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
