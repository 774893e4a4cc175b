"""The tables of a trace as SQL sees them: documented columns, plain strings and 64-bit integers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import polars as pl
import polars.selectors as cs
from polars.exceptions import PanicException, PolarsError

from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.idle import CAUSES
from mmprof.analyzers.lineage import Path
from mmprof.analyzers.module_names import module_path
from mmprof.analyzers.trace import ACTIVITY_COLUMNS, HOST_COLUMNS, Trace
from mmprof.analyzers.view import View

_AT: Final = {"start_ns": "start", "end_ns": "end"}
_EVENT: Final = {"event": "position in traceEvents"}
_STREAM: Final = {"device": "device index", "stream": "stream"}
_THREAD: Final = {"thread": "code of the thread, see table threads"}
_CLASSIFIED: Final = {
    "row": "position in table activities",
    **_EVENT,
    "kind": "kernel, memcpy or memset; operator in a CPU-only trace",
    "name": "name",
    **_STREAM,
    **_AT,
    "dur_ns": "end - start",
    "own_ns": "busy time that is this activity's where several overlap; sums to busy time",
    "class": "class of kernel",
    "by": "evidence that decided the class",
    "rule": "rule that decided the class",
    "operator": "name of the innermost operator around the launch",
    "module": "path of the innermost module around the launch",
    "annotation": "annotations around the launch, outermost first",
    "launch_start_ns": "start of the launch call",
    "launch_end_ns": "end of the launch call",
    "flops": "floating-point operations of the operator, on its first activity",
    "bytes": "bytes that the operator must move, on its first activity",
    "roofline_ns": "least time that the device needs for these, on the first activity",
    "bound": "compute, memory, latency, transfer, communication or unknown",
}
_GAPS: Final = {
    "device": "device index",
    **_AT,
    "dur_ns": "length",
    "row": "row of the activity that ends the gap",
    **{cause: f"nanoseconds with the cause {cause}" for cause in CAUSES},
}


@dataclass(frozen=True, slots=True)
class QueryTable:
    """A table that SQL can name.

    Attributes:
        name: Its name.
        summary: What a row is.
        columns: What each column holds, in order.
        build: Makes it from a trace.
    """

    name: str
    summary: str
    columns: Mapping[str, str]
    build: Callable[[Trace], pl.DataFrame]

    def of(self, trace: Trace) -> pl.DataFrame:
        """The table of a trace, with the documented columns only."""
        return _plain(self.build(trace).select(*self.columns))


def query_tables() -> Mapping[str, QueryTable]:
    """All tables by name."""
    return {table.name: table for table in _TABLES}


def listed_tables(names: Collection[str]) -> list[QueryTable]:
    """The tables of these names.

    Raises:
        MmprofError: A name is none of a table.
    """
    tables = query_tables()
    for name in names:
        if name not in tables:
            raise _unknown_table(name)
    return [tables[name] for name in names]


def tables_in(sql: str) -> list[str]:
    """The tables whose names occur in a statement."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    return [name for name in query_tables() if name in words]


def run_sql(trace: Trace, sql: str) -> pl.DataFrame:
    """Run one SELECT over the tables of a trace; only the tables that it names are built.

    Raises:
        MmprofError: The statement is no SQL, or names a table or column that does not exist.
    """
    frames = {name: query_tables()[name].of(trace) for name in tables_in(sql)}
    try:
        with pl.SQLContext(frames) as context:
            return context.execute(sql, eager=True)
    except (PolarsError, PanicException) as error:
        raise _sql_error(str(error), frames) from error


def _unknown_table(name: str) -> MmprofError:
    names = query_tables()
    return MmprofError(
        "MM-E025",
        f"there is no table {name!r}",
        found=", ".join(names),
        hint=_suggestion(name, names),
    )


def _sql_error(message: str, frames: Mapping[str, pl.DataFrame]) -> MmprofError:
    if table := re.search(r"relation '(.*?)' was not found", message):
        return _unknown_table(table[1])
    if column := re.search(r'(?:unable to find|not found).*?"(.*?)"', message):
        columns = dict.fromkeys(name for frame in frames.values() for name in frame.columns)
        return MmprofError(
            "MM-E024",
            f"no table of the query has a column {column[1]!r}",
            found=", ".join(columns) or "no table of the trace in the query",
            hint=_suggestion(column[1], columns),
        )
    return MmprofError(
        "MM-E024",
        "the query cannot be run",
        found=message.partition("\n")[0] or "no statement",
        hint="one SELECT over the tables that `mmprof query TRACE` lists",
    )


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return (
        f"did you mean {close[0]!r}?" if close else "`mmprof query TRACE` lists tables and columns"
    )


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """SQL compares and searches strings, not enums, and subtraction must not wrap around below zero."""
    strings = cs.enum() | cs.categorical()
    return frame.with_columns(strings.cast(pl.String), cs.unsigned_integer().cast(pl.Int64))


def _member(name: str, trace: Trace) -> pl.DataFrame:
    frame: pl.DataFrame = getattr(trace, name)
    return frame


def _classified(trace: Trace) -> pl.DataFrame:
    return pl.concat(
        [_plain(_classified_view(view).select(*_CLASSIFIED)) for view in views(trace, Options())]
    )


def _classified_view(view: View) -> pl.DataFrame:
    costs = view.costs.select("flops", "roofline_ns", "bound", needed="bytes")
    joined = pl.concat([view.activities.drop("operator", "bytes"), costs], how="horizontal")
    return joined.with_columns(
        _of_path(view, lambda path: module_path(path.modules)).alias("module"),
        _of_path(view, lambda path: ".".join(reversed(path.annotations))).alias("annotation"),
        device=pl.lit(view.device, pl.Int64),
        operator=pl.col("operator_name"),
        bytes=pl.col("needed"),
    )


def _of_path(view: View, text: Callable[[Path], str]) -> pl.Expr:
    texts = {code: text(path) for code, path in view.lineage.paths.items()}
    return pl.col("path").replace_strict(texts, return_dtype=pl.String)


def _gaps(trace: Trace) -> pl.DataFrame:
    return pl.concat([_gaps_of(view) for view in views(trace, Options())])


def _gaps_of(view: View) -> pl.DataFrame:
    return view.gaps.with_columns(
        device=pl.lit(view.device, pl.Int64), dur_ns=pl.col("end_ns") - pl.col("start_ns")
    )


def _trace_table(name: str, summary: str, columns: Mapping[str, str]) -> QueryTable:
    return QueryTable(name, summary, columns, partial(_member, name))


_TABLES: Final = (
    _trace_table(
        "host", "an operator, annotation, Python frame, runtime or driver call", HOST_COLUMNS
    ),
    _trace_table("activities", "a kernel, copy or memset", ACTIVITY_COLUMNS),
    QueryTable(
        "classified",
        "an activity of the window with its class, cost and bound",
        _CLASSIFIED,
        _classified,
    ),
    QueryTable("gaps", "a span in which a device was idle, cut into causes", _GAPS, _gaps),
    _trace_table(
        "device_annotations",
        "an annotation's span on a device",
        {**_EVENT, "name": "name", **_STREAM, **_AT},
    ),
    _trace_table(
        "syncs",
        "a synchronisation record of the device",
        {
            **_EVENT,
            "name": "kind of synchronisation",
            **_STREAM,
            **_AT,
            "correlation": "correlation id of the call",
            "wait_on_stream": "stream that is waited for",
            "wait_on_correlation": "correlation id of the record that is waited for",
        },
    ),
    _trace_table(
        "memory",
        "an allocation or release",
        {
            **_EVENT,
            "start_ns": "time",
            "bytes": "bytes, negative for a release",
            "address": "address",
            "total_allocated": "bytes allocated after it",
            "total_reserved": "bytes reserved after it",
            "device_type": "0 for the host, 1 for a GPU",
            "device": "device index",
            **_THREAD,
        },
    ),
    _trace_table(
        "other",
        "an event of a category that no analysis uses",
        {**_EVENT, "category": "category", "name": "name", **_THREAD, **_AT},
    ),
    _trace_table(
        "threads",
        "a thread of the host",
        {"thread": "code of the thread", "pid": "process", "tid": "thread id", "name": "name"},
    ),
    _trace_table(
        "calls",
        "the arguments of an operator, as JSON text",
        {
            "call": "code of the arguments",
            "dims": "shapes",
            "types": "data types",
            "strides": "strides",
            "concrete": "values of scalars",
            "kernel_backend": "backend of a compiled kernel",
            "kernel_kwargs": "its arguments",
        },
    ),
)
