"""MM116: too much of the window cannot be explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.findings.evidence import idle_parts, total
from mmprof.analyzers.findings.registry import (
    EVIDENCE_LIMIT,
    HIGH_SHARE,
    MEDIUM_SHARE,
    Match,
    finding,
)
from mmprof.analyzers.findings.thresholds import STALL_NS
from mmprof.analyzers.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# With less than this the other findings stand as they are.
UNTRUSTED_SHARE: Final = MEDIUM_SHARE


@finding("MM116", "unexplained part of the window")
def unlinked_activities(view: View) -> Match | None:
    """Part of the window cannot be explained from this trace, so shares and other findings rest on what is left.

    Activities without a launch were started before the recording, or their launches were not recorded; what they do is
    known by their names only, and idle time beside them has no cause. An idle device that has had launched work for a
    millisecond waits for something the trace does not show: events that were dropped or filtered, another process, or a
    dependency that was not recorded. Record with CPU and device activities together, after a warm-up, with a
    synchronization before the recording starts.
    """
    parts = {
        "were launched before the recording": _carried(view),
        "no recorded reason": _long_queue(view),
    }
    unlinked = view.selected.filter(pl.col("launch").is_null())
    if unlinked.height == view.selected.height:
        return None
    return None if not parts else None


def _carried(view: View) -> int:
    carried = view.all_activities.filter(pl.col("carry_in"))
    return intervals.overlap_length(intervals.merge(carried), view.window)


def _long_queue(view: View) -> pl.DataFrame:
    return idle_parts(view, "queue").filter(pl.col("part_ns") >= STALL_NS)


__all__ = ["EVIDENCE_LIMIT", "HIGH_SHARE", "UNTRUSTED_SHARE", "format_count", "format_ns", "format_share", "total"]
