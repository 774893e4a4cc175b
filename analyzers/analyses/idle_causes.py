"""Why the device was idle, and what stood around the largest gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers import lineage
from mmprof.analyzers.idle import CAUSES
from mmprof.analyzers.module_names import module_path
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

LARGEST_GAPS: Final = 20


class CauseRow(Struct, frozen=True):
    """Idle time of one cause; time_ns of all causes sums to idle_ns.

    Attributes:
        cause: sync, allocator, runtime, compile, dataloader, profiler, dispatch, python, launch, dependency, graph,
            queue or unknown.
        time_ns: Idle time with this cause.
        gaps: Number of gaps that have a part of it.
        longest_ns: The longest part.
    """

    cause: str
    time_ns: int
    gaps: int
    longest_ns: int


class GapRow(Struct, frozen=True):
    """One idle gap.

    Attributes:
        start_ns: Start on the trace's clock.
        dur_ns: Length.
        cause: Cause of its longest part.
        causes: Nanoseconds per cause.
        event: Position in traceEvents of the activity that ended the gap; -1 if none.
        before: Name of that activity.
        operator: Innermost operator around its launch.
        module: Module path around its launch, outermost first.
        source: Source line around its launch.
    """

    start_ns: int
    dur_ns: int
    cause: str
    causes: dict[str, int]
    event: int
    before: str
    operator: str
    module: str
    source: str


class IdleCauses(Struct, frozen=True):
    """Idle time by cause.

    Attributes:
        idle_causes: By time.
        largest_gaps: The longest gaps.
    """

    idle_causes: list[CauseRow]
    largest_gaps: list[GapRow]


@analysis(
    "device",
    Table(
        "idle_causes", "Idle time by cause", "cause", ("time_ns", "gaps", "longest_ns"), by="cause"
    ),
    Table(
        "largest_gaps",
        "Largest idle gaps",
        "cause",
        ("dur_ns", "start_ns", "operator", "module", "source"),
        by="gap",
    ),
)
def idle_causes(view: View) -> IdleCauses:
    """Sum the parts of all gaps by cause, and describe the longest gaps."""
    gaps = view.gaps
    totals = (
        gaps.select(CAUSES)
        .unpivot(variable_name="cause", value_name="part_ns")
        .filter(pl.col("part_ns") > 0)
    )
    rows = totals.group_by("cause").agg(
        time_ns=pl.col("part_ns").sum(),
        gaps=pl.len().cast(pl.Int64),
        longest_ns=pl.col("part_ns").max(),
    )
    present = rows.sort("time_ns", "cause", descending=[True, False])
    return IdleCauses([CauseRow(*row) for row in present.iter_rows()], _largest(view))


def _largest(view: View) -> list[GapRow]:
    dur_ns = pl.col("end_ns") - pl.col("start_ns")
    order = view.gaps.select("start_ns", dur_ns=dur_ns).with_row_index()
    longest = order.sort("dur_ns", "start_ns", descending=[True, False])["index"]
    top = view.gaps[longest.head(LARGEST_GAPS)].with_columns(dur_ns=dur_ns)
    ended = top.join(
        view.selected.select("row", "event", "name", "operator_name", launch_row="launch"),
        on="row",
        how="left",
        maintain_order="left",
    )
    around = lineage.lineage(view.host, ended["launch_row"])
    sources = lineage.source_lines(view.trace.host, ended["launch_row"])
    rows = zip(ended.iter_rows(named=True), around.code.to_list(), sources, strict=True)
    return [
        GapRow(
            start_ns=row["start_ns"],
            dur_ns=row["dur_ns"],
            cause=max(CAUSES, key=lambda cause: row[cause]),
            causes={cause: row[cause] for cause in CAUSES if row[cause]},
            event=-1 if row["event"] is None else row["event"],
            before=row["name"] or "",
            operator=row["operator_name"] or "",
            module=module_path(around.paths[code].modules),
            source=source,
        )
        for row, code, source in rows
    ]
