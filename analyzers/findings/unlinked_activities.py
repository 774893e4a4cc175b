"""MM116: too much of the window cannot be explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.findings.evidence import (
    idle_parts,
    main_place,
    share_words,
    total,
    while_idle,
    with_ends,
)
from mmprof.analyzers.findings.registry import (
    EVIDENCE_LIMIT,
    HIGH_SHARE,
    MEDIUM_SHARE,
    Match,
    finding,
)
from mmprof.analyzers.findings.thresholds import STALL_NS
from mmprof.analyzers.units import format_count, format_ns

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
    if view.is_host:
        return None
    if view.selected["launch"].null_count() == view.selected.height:
        return _nothing_linked(view)
    waits, carried = _long_waits(view), _carried(view)
    idle = while_idle(view, waits.select("start_ns", "end_ns").sort("start_ns"))
    unexplained = intervals.merge(pl.concat([idle, carried]))
    time_ns = intervals.length(unexplained)
    if time_ns < UNTRUSTED_SHARE * view.window_ns or time_ns == 0:
        return None
    return Match(
        title=_title(view, time_ns, waits, carried),
        time_ns=time_ns,
        removable_ns=0,
        events=waits["event"].drop_nulls().head(EVIDENCE_LIMIT).to_list(),
        count=waits.height,
        where=main_place(view, waits["launch_row"], waits["part_ns"]),
        severity="high" if time_ns >= HIGH_SHARE * view.window_ns else "medium",
    )


def _nothing_linked(view: View) -> Match:
    longest = view.selected.sort(pl.col("end_ns") - pl.col("start_ns"), descending=True)
    return Match(
        title=f"None of the {format_count(view.selected.height, 'activity', 'activities')} has a launch in this trace: "
        "neither operators nor the causes of idle time are known",
        time_ns=view.window_ns,
        removable_ns=0,
        events=longest["event"].head(EVIDENCE_LIMIT).to_list(),
        count=view.selected.height,
        severity="high",
    )


def _long_waits(view: View) -> pl.DataFrame:
    """Parts of gaps, of a millisecond or more, in which launched work did not start; the longest first."""
    gaps = idle_parts(view, "queue").filter(pl.col("part_ns") >= STALL_NS)
    launched = view.selected.select("row", "launch_end_ns")
    waited = gaps.join(launched, on="row", how="left", maintain_order="left").with_columns(
        start_ns=pl.max_horizontal("start_ns", "launch_end_ns")
    )
    return with_ends(view, waited)


def _carried(view: View) -> pl.DataFrame:
    """The part of the window in which activities from before the recording ran."""
    carried = view.all_activities.filter("carry_in")
    return intervals.intersect(intervals.merge(carried), view.window)


def _title(view: View, time_ns: int, waits: pl.DataFrame, carried: pl.DataFrame) -> str:
    said = []
    if waits.height:
        said.append(
            f"the GPU idles {format_ns(total(waits, 'part_ns'))} in {format_count(waits.height, 'gap')} with work that was "
            "launched a millisecond or more before"
        )
    if carried.height:
        said.append(
            f"work launched before the recording runs for {format_ns(intervals.length(carried))}"
        )
    return f"{share_words(view, time_ns)} of the window is unexplained: {', and '.join(said)}"
