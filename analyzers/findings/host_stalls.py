"""MM118: single long pauses of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import (
    about_idle,
    covered,
    graph_captures,
    idle_parts,
    idle_words,
    python_words,
    total,
    while_idle,
)
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import STALL_NS, significant
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

_HOST_CAUSES: Final = ("python", "dispatch", "runtime", "launch")


@finding("MM118", "long pauses of the host")
def host_stalls(view: View) -> Match | None:
    """The device waited a millisecond or more at a time while the host did something other than launching.

    Launching a kernel takes microseconds, so such a pause is other work: loading a module or a kernel on first use,
    preparing inputs, tokenizing, logging, garbage collection, waiting for a lock or another thread. Look at what the host
    does there: move it out of the loop, into another thread, or before the recording (a warm-up step removes first-use
    costs).
    """
    stalls = _stalls(view)
    if not significant(view, total(stalls, "part_ns")):
        return None
    return about_idle(view, stalls, title=_title(view, stalls))


def _stalls(view: View) -> pl.DataFrame:
    """Long gaps that the host caused, less what is a graph capture in them; mostly captures are left to MM111."""
    long = idle_parts(view, *_HOST_CAUSES).filter(pl.col("part_ns") >= STALL_NS)
    if long.is_empty():
        return long
    captured = long.with_columns(captured_ns=covered(long, while_idle(view, graph_captures(view))))
    return captured.filter(2 * pl.col("captured_ns") < pl.col("part_ns")).with_columns(
        part_ns=pl.col("part_ns") - pl.col("captured_ns")
    )


def _title(view: View, stalls: pl.DataFrame) -> str:
    longest = stalls.sort("part_ns", "start_ns", descending=[True, False]).row(0, named=True)
    words = {
        "python": python_words(view),
        "dispatch": "in an operator, before its launch",
        "runtime": "in a runtime call",
        "launch": "in a launch call",
    }
    state = words[max(words, key=lambda cause: int(longest[cause]))]
    return (
        f"{idle_words(view, total(stalls, 'part_ns'))} in {format_count(stalls.height, 'long pause')} of the host, "
        f"the longest {format_ns(longest['part_ns'])}, mostly {state}"
    )
