"""Calls of modules in a trace: which there are, and which lie around a launch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.load import categories as c

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


def module_calls(view: View) -> pl.DataFrame:
    """Calls of modules.

    Returns:
        `row` (of the host), `outer` (the row of the innermost module call around it, null for none), `name` without the prefix,
        `thread`, `start_ns`, `end_ns`; by row.
    """
    host = view.trace.host
    is_module = are_modules(host)
    outer = nesting.above(host["parent"], is_module)
    return host.with_columns(outer=outer).filter(is_module).select(
        "row", "outer", "thread", "start_ns", "end_ns",
        name=pl.col("name").cast(pl.String).str.strip_prefix(MODULE_PREFIX),
    )  # fmt: skip


def are_modules(host: pl.DataFrame) -> pl.Series:
    """Whether each host event is the call of a module, as torch's profiler or mmprof's tracer writes it."""
    named = host["name"].cast(pl.String).str.starts_with(MODULE_PREFIX)
    return named & host["kind"].is_in([c.PYTHON, c.ANNOTATION])


def with_module(view: View, events: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add `module`, the host row of the innermost module call around the host row in a column; null for none."""
    host = view.trace.host
    above = nesting.above(host["parent"], are_modules(host))
    return events.with_columns(module=above.gather(events[column]))
