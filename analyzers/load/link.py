"""Linking device activities to their launches and operators."""

from __future__ import annotations

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.load import categories as c


def link(activities: pl.DataFrame, host: pl.DataFrame) -> pl.DataFrame:
    """Find each activity's launch and the operator around it.

    A launch is any runtime or driver call with the activity's correlation id in the same process: never known by its
    name, never by flow events. One graph launch has many activities.

    Args:
        activities: Columns `correlation`, `device`, `start_ns` and others.
        host: The nested host table.

    Returns:
        The activities by device and start, with `row`, `launch`, `operator` (rows of `host`) and `carry_in`.
    """
    by = (pl.col("end_ns"), pl.col("event"))
    order = nesting.rows_in_order(activities["device"], activities["start_ns"], activities, by)
    ordered = activities[order]
    linked = ordered.with_columns(launch=_launches(ordered["correlation"], host))
    is_operator = host["kind"] == c.OPERATOR
    operator = nesting.climb(host["parent"], linked["launch"], is_operator)
    any_linked = linked["launch"].is_not_null().any()
    return (
        linked.drop("dur_ns", "correlation")
        .with_row_index("row")
        .with_columns(operator=operator, carry_in=pl.col("launch").is_null() & any_linked)
    )


def _launches(correlation: pl.Series, host: pl.DataFrame) -> pl.Series:
    """Of each correlation id the first runtime or driver call that has it, a row of `host`; null where none has."""
    calls = (
        host.select("kind", "correlation", "row")
        .filter(pl.col("kind").is_in(c.LAUNCH_KINDS) & (pl.col("correlation") > 0))
        .sort("correlation", maintain_order=True)
        .drop("kind")
    )
    asked = correlation.fill_null(0)
    found = calls["correlation"].search_sorted(asked, side="left")
    # beyond the last call nothing is found, and 0 is the id of none
    beyond = pl.DataFrame({"correlation": [-1], "row": [None]}, schema=calls.schema)
    answers = pl.concat([calls, beyond])[found]
    return answers["row"].zip_with(answers["correlation"] == asked, beyond["row"].clear(1))
