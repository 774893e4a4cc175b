"""The host rows of a twin that are added to a trace: what was around the launches of its kernels' counterparts.

Each replay has its own copy of the rows, as if its operators had been called in it: so they are counted, and their FLOPs
and bytes summed, once for each replay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.load.categories import OPERATOR
from mmprof.analyzers.trace import BORROWED_NAME, BORROWED_OPERATOR

if TYPE_CHECKING:
    from mmprof.analyzers.hostwork import HostWork
    from mmprof.analyzers.trace import Trace
    from mmprof.analyzers.twin_sequences import Kernels, Twin

_KEYS: Final = ("replay", "host")


def borrowed(kernels: Kernels, twin: Twin, found: pl.DataFrame) -> Trace:
    """The trace with borrowed host rows around its aligned activities.

    Args:
        kernels: The launched activities of the trace.
        twin: Whose rows are borrowed.
        found: `row` of an activity, `twin_row` of its counterpart, and `same_call`: whether its arguments are certain.
    """
    trace, lender = kernels.trace, twin.kernels.trace
    launch, operator = (
        lender.activities[column].gather(found["twin_row"]) for column in ("launch", "operator")
    )
    located = found.with_columns(
        host=twin.kernels.work.above_named.gather(launch), operator=operator
    ).join(kernels.replayed.select("row", replay="launch"), on="row")
    rows = _placed(trace, _around(twin.kernels.work, located.select(*_KEYS, "same_call")))
    own = _with_names(trace.host, lender.host["name"].gather(rows["host"]).unique())
    return replace(
        trace,
        host=pl.concat([own, _host_rows(own, twin, rows, trace)], how="diagonal"),
        activities=_activities(kernels, located, rows.select(*_KEYS, new="row")),
        calls=_joined_calls(trace.calls, lender.calls),
        threads=_with_thread(trace.threads),
    )


def _around(work: HostWork, rows: pl.DataFrame) -> pl.DataFrame:
    """The twin's host rows for each replay, with all that is around them; `same_call` only if it holds for all inside."""
    current, found = rows, []
    while (current := current.drop_nulls("host")).height:
        current = current.group_by(_KEYS).agg(pl.col("same_call").all())
        found.append(current)
        current = current.with_columns(host=work.above_named.gather(current["host"]))
    return pl.concat([rows.clear(), *found]).group_by(_KEYS).agg(pl.col("same_call").all())


def _placed(trace: Trace, rows: pl.DataFrame) -> pl.DataFrame:
    """Add `start_ns`, that of the graph launch, and `row`, the place at the end of the trace's host table."""
    timed = rows.with_columns(start_ns=trace.host["start_ns"].gather(rows["replay"]))
    ordered = timed.sort("start_ns", *_KEYS)
    return ordered.with_row_index("row", offset=trace.host.height)


def _host_rows(own: pl.DataFrame, twin: Twin, rows: pl.DataFrame, trace: Trace) -> pl.DataFrame:
    """Rows of the host table: of no duration, at the time of the graph launch, on a thread of their own."""
    lender, above = twin.kernels.trace.host, twin.kernels.work.above_named
    parents = rows.select("replay", host=above.gather(rows["host"])).join(
        rows.select(*_KEYS, parent="row"), on=_KEYS, how="left", maintain_order="left"
    )
    call = lender["call"].gather(rows["host"])
    certain = rows["same_call"] & (call > 0)
    operator = lender["kind"].gather(rows["host"]) == OPERATOR
    kind = pl.when(operator).then(pl.lit(BORROWED_OPERATOR)).otherwise(pl.lit(BORROWED_NAME))
    return rows.select(
        "row",
        "start_ns",
        event=own["event"].gather(rows["replay"]),
        kind=kind.cast(own.schema["kind"]),
        name=lender["name"].gather(rows["host"]).cast(pl.String).cast(own.schema["name"]),
        thread=pl.lit(trace.threads.height, own.schema["thread"]),
        end_ns="start_ns",
        dur_ns=pl.lit(0, pl.Int64),
        parent=parents["parent"],
        call=pl.select(pl.when(certain).then(call + trace.calls.height).otherwise(0))
        .to_series()
        .cast(own.schema["call"]),
    )


def _with_names(host: pl.DataFrame, more: pl.Series) -> pl.DataFrame:
    """The host table with enums that hold further names and the kinds of borrowed rows."""
    names = [*host.schema["name"].categories, *more.cast(pl.String)]  # type: ignore[attr-defined]
    kinds = pl.Enum([*host.schema["kind"].categories, BORROWED_OPERATOR, BORROWED_NAME])  # type: ignore[attr-defined]
    return host.with_columns(
        pl.col("name").cast(pl.Enum(list(dict.fromkeys(names)))), pl.col("kind").cast(kinds)
    )


def _activities(kernels: Kernels, located: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The activities with `replayed`, `around` and the borrowed operators."""
    names = located.select("row", *_KEYS).join(new, on=_KEYS).select("row", lent_around="new")
    operators = located.select("row", "replay", host="operator").join(new, on=_KEYS)
    lent = names.join(
        operators.select("row", lent_operator="new"), on="row", how="left", maintain_order="left"
    )
    joined = kernels.trace.activities.join(lent, on="row", how="left", maintain_order="left")
    aligned = pl.col("lent_around").is_not_null()
    return joined.with_columns(
        replayed=pl.col("row").is_in(kernels.replayed["row"].implode()),
        around=pl.coalesce("lent_around", "launch"),
        operator=pl.when(aligned).then("lent_operator").otherwise("operator"),
    ).drop("lent_around", "lent_operator")


def _joined_calls(own: pl.DataFrame, lent: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([own.drop("call"), lent.drop("call")]).with_row_index("call")


def _with_thread(threads: pl.DataFrame) -> pl.DataFrame:
    row = {"thread": threads.height, "pid": "", "tid": "", "name": "twin"}
    return pl.concat([threads, pl.DataFrame([row], schema=threads.schema)])
