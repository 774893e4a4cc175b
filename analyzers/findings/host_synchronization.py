"""MM102: the host waits for the device inside the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import (
    covered,
    host_row_at,
    idle_parts,
    idle_words,
    main_place,
    steps,
    stretches,
    total,
    with_ends,
)
from mmprof.analyzers.findings.registry import EVIDENCE_LIMIT, Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

_REFILL_CAUSES: Final = ("sync", "runtime", "dispatch", "python", "launch")


@finding("MM102", "host waits for the device", lever="sync_removal")
def host_synchronization(view: View) -> Match | None:
    """The host waits for a result of the device, so it cannot launch ahead, and the device runs dry.

    Typical causes are `.item()`, `.cpu()`, `.tolist()`, printing a tensor, `if tensor:`, boolean indexing, `nonzero` and
    explicit synchronization. The device then idles from the end of its work until the host has returned and launched
    again; a synchronization costs nothing only while the device still has other work. Keep the value on the device, check
    it every few steps instead of every step, or copy it to pinned memory without blocking and read it a step later.
    """
    if view.is_host:
        return None
    gaps = _drained(view)
    if not significant(view, total(gaps, "saved_ns")):
        return None
    time_ns, waits = total(gaps, "part_ns"), _waits(view)
    ordered = gaps.sort("part_ns", "start_ns", descending=[True, False])
    return Match(
        title=_title(view, time_ns, waits),
        time_ns=time_ns,
        removable_ns=total(gaps, "saved_ns"),
        events=ordered["event"].drop_nulls().head(EVIDENCE_LIMIT).to_list(),
        count=waits,
        where=main_place(view, ordered["wait_row"], ordered["part_ns"]),
    )


def _drained(view: View) -> pl.DataFrame:
    """Gaps in which the host was still waiting for the device.

    Returns:
        The columns of `idle_parts`; `part_ns` is what the host needed to return and to launch again, `saved_ns` the most
        that the gap can shrink: the host gains no more than it spent waiting. `wait_row` is the host event that waited.
    """
    refilled = idle_parts(view, *_REFILL_CAUSES).filter(pl.col("sync") > 0)
    gaps = with_ends(view, refilled)
    parts = [_with_wait(view, part) for part in gaps.partition_by("thread")]
    return (
        pl.concat(parts) if parts else gaps.with_columns(saved_ns="part_ns", wait_row="launch_row")
    )


def _with_wait(view: View, gaps: pl.DataFrame) -> pl.DataFrame:
    """Add what the wait took that reaches into each gap, its part before the gap included; one thread."""
    thread = int(gaps["thread"][0])
    waiting = view.host.states(thread)[0][1]
    start, end = waiting["start_ns"], waiting["end_ns"]
    # The first wait that ends after the gap has begun: the gaps have a part of a wait, so there is one.
    first = end.search_sorted(gaps["start_ns"], side="right").clip(0, len(end) - 1)
    since = pl.select(pl.min_horizontal(start[first], gaps["start_ns"])).to_series()
    waited = covered(gaps.with_columns(start_ns=since), waiting)
    return gaps.with_columns(
        saved_ns=pl.min_horizontal("part_ns", waited),
        wait_row=host_row_at(view.trace.host, thread, start[first]),
    )


def _waits(view: View) -> int:
    """Operators that waited, a blocking copy and the synchronization behind it counted once; and calls outside operators."""
    rows = stretches(view, "sync")["row"].drop_nulls()
    itself = view.host.is_operator[rows]
    operator = view.host.above_operator[rows].zip_with(~itself, rows)
    return operator.drop_nulls().n_unique() + operator.null_count()


def _title(view: View, time_ns: int, waits: int) -> str:
    count = steps(view)
    per_step = f", {waits / count:.1f} a step" if count > 1 else ""
    return (
        f"{idle_words(view, time_ns)} because the host had waited for it: "
        f"{format_count(waits, 'synchronization')}{per_step}"
    )
