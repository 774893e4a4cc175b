"""Idle gaps cut at the instants where their cause changes: the spans behind the sums of `idle.causes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import idle, intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmprof.analyzers.view import View

_START: Final = "start_ns"
_PART: Final = {**intervals.SCHEMA, "cause": pl.String, "gap_ns": pl.Int64}


def idle_parts(view: View) -> pl.DataFrame:
    """The parts of a view's gaps by start: start_ns, end_ns, cause, gap_ns (the start of the gap that it is a part of)."""
    found = [
        _in_gaps(spans, view.gaps).with_columns(cause=_text(cause)).select(*_PART)
        for cause, spans in _spans(view)
    ]
    return pl.concat([pl.DataFrame(schema=_PART), *found]).sort(_START)


def _text(cause: pl.Expr | str) -> pl.Expr:
    return (pl.lit(cause) if isinstance(cause, str) else cause).cast(pl.String)


def _in_gaps(spans: pl.DataFrame, gaps: pl.DataFrame) -> pl.DataFrame:
    starts = gaps.select(_START, gap_ns=_START)
    return spans.sort(_START).join_asof(starts, on=_START)


def _spans(view: View) -> Iterator[tuple[pl.Expr | str, pl.DataFrame]]:
    """Spans with their cause, or the column that names it."""
    gaps = view.gaps
    free = intervals.subtract(gaps, view.outside)
    yield "outside", intervals.intersect(gaps, view.outside)
    pieces = free.join_asof(gaps.select(_START, "row"), on=_START)
    cut = idle.at_launch(pieces, view.selected, view.host)
    known = pl.col("launch").is_not_null()
    yield "unknown", cut.filter(~known)
    launched = cut.filter(known)
    yield "launch", _between(launched, "launch_from", "launch_until")
    yield pl.col("after_launch"), _between(launched, "launch_until", "end_ns")
    for (thread,), part in launched.partition_by("thread", as_dict=True).items():
        yield from _before_launch(_between(part, _START, "launch_from"), int(thread), view)


def _between(frame: pl.DataFrame, start: str, end: str) -> pl.DataFrame:
    spans = frame.with_columns(start_ns=pl.col(start), end_ns=pl.col(end))
    return spans.filter(pl.col("end_ns") > pl.col("start_ns"))


def _before_launch(
    waits: pl.DataFrame, thread: int, view: View
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The states of the launching thread, the first of which decides; what none covers is Python."""
    rest = waits.select(*intervals.SCHEMA)
    for state, union in view.host.states(thread):
        yield state, intervals.intersect(rest, union)
        rest = intervals.subtract(rest, union)
    yield "python", rest
