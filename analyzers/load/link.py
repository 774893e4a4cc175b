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
    launches = (
        host.filter(pl.col("kind").is_in(c.LAUNCH_KINDS) & (pl.col("correlation") > 0))
        .select("correlation", launch="row")
        .unique("correlation", keep="first", maintain_order=True)
    )
    linked = activities.join(launches, on="correlation", how="left").sort(
        "device", "start_ns", "end_ns", "event"
    )
    is_operator = host["kind"] == c.OPERATOR
    operator = nesting.climb(host["parent"], linked["launch"], is_operator)
    any_linked = linked["launch"].is_not_null().any()
    return (
        linked.drop("dur_ns", "correlation")
        .with_row_index("row")
        .with_columns(operator=operator, carry_in=pl.col("launch").is_null() & any_linked)
    )
