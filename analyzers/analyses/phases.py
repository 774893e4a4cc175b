"""How long prefill, decode and the other phases took, and each profiler step.

Time is the device's: an activity belongs to the innermost span around its launch, a gap to the innermost span around
the launches on both of its sides. So the time of an instance runs from its first start to its last end; where it shares
the device with another, no nanosecond counts twice, and all phases with `other` sum to the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.phases import SpanTree, phase_spans, steps
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace
    from mmprof.analyzers.view import View

OTHER: Final = "other"
_DEVICE_SYNC: Final = ("cudaDeviceSynchronize", "hipDeviceSynchronize")


class PhaseRow(Struct, frozen=True):
    """All instances of one phase; busy_ns of all rows sums to the view's busy_ns, time_ns to its window_ns.

    Attributes:
        phase: Name of the phase; `other` is everything outside all phases, the gaps between their instances included.
        count: Instances that launched activities; 0 for `other`.
        time_ns: busy_ns + idle_ns.
        idle_ns: Idle time inside instances.
        busy_ns: Busy time that the phase owns.
        idle_share: idle_ns / time_ns.
        median_ns: Median time of an instance; 0 for `other`.
        class_shares: Share of busy_ns per class of kernels, the largest first.
    """

    phase: str
    count: int
    time_ns: int
    idle_ns: int
    busy_ns: int
    idle_share: float
    median_ns: int
    class_shares: dict[str, float]


class StepRow(Struct, frozen=True):
    """One `ProfilerStep#N`.

    Attributes:
        name: Name of the annotation.
        start_ns: Start on the host, on the trace's clock.
        time_ns: Device time from the first start to the last end of what the step launched.
        idle_ns: Idle time in it.
        busy_ns: Busy time in it.
        host_ns: Length of the span on the host.
        contains_profiler_sync: The trace's first or last call is a device synchronisation in this step, as the profiler
            makes when it starts and stops: host_ns then holds a wait that is no part of the step.
    """

    name: str
    start_ns: int
    time_ns: int
    idle_ns: int
    busy_ns: int
    host_ns: int
    contains_profiler_sync: bool


class Phases(Struct, frozen=True):
    """Device time by phase and by profiler step.

    Attributes:
        phases: By time, `other` last; empty without activities.
        steps: By start; in a window only those that launched activities of it.
    """

    phases: list[PhaseRow]
    steps: list[StepRow]


@dataclass(frozen=True)
class Launches:
    """When the activities of a view were launched, and between which of them its gaps lie.

    Attributes:
        activities: Activities with class, own_ns and the time of their launch, launched_ns.
        gaps: Gaps with idle_ns and the positions of the activity that ended last before (`before`) and of the one after.
    """

    activities: pl.DataFrame
    gaps: pl.DataFrame

    @classmethod
    def of(cls, view: View) -> Launches:
        """The launches of a view; an activity without a launch counts from its own start."""
        launched = pl.col("launch_start_ns").fill_null(pl.col("start_ns"))
        row = pl.int_range(pl.len())
        ended_last = (
            pl.when(pl.col("end_ns") == pl.col("end_ns").cum_max()).then(row).forward_fill()
        )
        activities = view.activities.select(
            "start_ns", "class", "own_ns", launched_ns=launched, ended_last=ended_last
        )
        after = (
            activities["start_ns"].search_sorted(view.gaps["end_ns"], side="left").cast(pl.Int64)
        )
        before = activities["ended_last"].gather(after - 1)
        length = pl.col("end_ns") - pl.col("start_ns")
        return cls(activities, view.gaps.select(idle_ns=length, before=before, after=after))

    def spans(self, tree: SpanTree) -> tuple[pl.Series, pl.Series]:
        """The row of the innermost span of each activity and of each gap, null outside all."""
        spans = tree.containing(self.activities["launched_ns"])
        around = tree.common(spans.gather(self.gaps["before"]), spans.gather(self.gaps["after"]))
        return spans, around

    def measured(self, tree: SpanTree) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Time by innermost span, null outside all: (span, class, busy_ns) and (span, idle_ns).

        A gap belongs to the innermost span around the launches on both of its sides.
        """
        spans, around = self.spans(tree)
        by_class = self.activities.select("class", "own_ns", span=spans).group_by("span", "class")
        idle = (
            self.gaps.select("idle_ns", span=around).group_by("span").agg(pl.col("idle_ns").sum())
        )
        return by_class.agg(busy_ns=pl.col("own_ns").sum()), idle


@analysis(
    "trace",
    Table(
        "phases",
        "Phases",
        "phase",
        ("count", "time_ns", "idle_ns", "busy_ns", "idle_share", "median_ns"),
        by="phase",
    ),
    Table(
        "steps",
        "Profiler steps",
        "name",
        ("time_ns", "idle_ns", "busy_ns", "host_ns", "contains_profiler_sync"),
        by="step",
    ),
)
def phases(view: View) -> Phases:
    """Assign activities and gaps to the spans that launched them, and sum by phase and by step."""
    launches = Launches.of(view)
    return Phases(_phase_rows(view.trace, launches), _step_rows(view, launches))


def _phase_rows(trace: Trace, launches: Launches) -> list[PhaseRow]:
    tree = SpanTree.of(phase_spans(trace))
    by_class, idle = launches.measured(tree)
    shares = _class_shares(
        by_class.join(tree.spans.select("phase", span="row"), on="span", how="left")
    )
    summed = _by_phase(_per_span(by_class, idle), tree)
    return [
        PhaseRow(**row, class_shares=shares.get(row["phase"], {}))
        for row in summed.iter_rows(named=True)
    ]


def _per_span(busy: pl.DataFrame, idle: pl.DataFrame) -> pl.DataFrame:
    """Per span that launched an activity or has idle time, without what is in inner spans: time_ns, idle_ns, busy_ns."""
    sums = busy.group_by("span").agg(pl.col("busy_ns").sum(), launched=pl.lit(value=True))
    both = sums.join(idle, on="span", how="full", coalesce=True, nulls_equal=True)
    filled = both.with_columns(
        pl.col("busy_ns", "idle_ns").fill_null(0), pl.col("launched").fill_null(value=False)
    )
    return filled.with_columns(time_ns=pl.col("busy_ns") + pl.col("idle_ns"))


def _by_phase(measured: pl.DataFrame, tree: SpanTree) -> pl.DataFrame:
    """The fields of `PhaseRow` up to the median."""
    named = measured.join(tree.spans.select("phase", "index", span="row"), on="span", how="left")
    instance = pl.col("index").is_not_null() & pl.col("launched")
    sums = named.group_by(pl.col("phase").fill_null(OTHER)).agg(
        count=instance.sum().cast(pl.Int64),
        time_ns=pl.col("time_ns").sum(),
        idle_ns=pl.col("idle_ns").sum(),
        busy_ns=pl.col("busy_ns").sum(),
        median_ns=pl.col("time_ns").filter(instance).median().fill_null(0).round().cast(pl.Int64),
    )
    share = (
        pl.when(pl.col("time_ns") > 0).then(pl.col("idle_ns") / pl.col("time_ns")).otherwise(0.0)
    )
    return sums.sort(
        pl.col("phase") == OTHER, "time_ns", "phase", descending=[False, True, False]
    ).select(
        "phase", "count", "time_ns", "idle_ns", "busy_ns", share.alias("idle_share"), "median_ns"
    )


def _class_shares(busy: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Share of each class in the busy time of each phase, the largest first."""
    sums = busy.group_by(pl.col("phase").fill_null(OTHER), "class").agg(pl.col("busy_ns").sum())
    share = pl.col("busy_ns") / pl.col("busy_ns").sum().over("phase")
    ordered = sums.filter(pl.col("busy_ns") > 0).sort("busy_ns", "class", descending=[True, False])
    shares: dict[str, dict[str, float]] = {}
    for phase, name, part in ordered.select("phase", "class", share).iter_rows():
        shares.setdefault(phase, {})[name] = part
    return shares


def _step_rows(view: View, launches: Launches) -> list[StepRow]:
    found = steps(view.trace)
    if found.is_empty():
        return []
    tree = SpanTree.of(found)
    measured = _per_span(*launches.measured(tree))
    every = tree.spans.join(
        measured, left_on="row", right_on="span", how="left", maintain_order="left"
    )
    shown = every if view.spans is None else every.filter("launched")
    rows = shown.select(
        "name",
        "start_ns",
        pl.col("time_ns", "idle_ns", "busy_ns").fill_null(0),
        host_ns=pl.col("end_ns") - pl.col("start_ns"),
        contains_profiler_sync=_holds_sync(view.trace),
    )
    return [StepRow(*row) for row in rows.iter_rows()]


def _holds_sync(trace: Trace) -> pl.Expr:
    """Whether the trace's first or last call is a device synchronisation that starts in the span."""
    calls = trace.host.select("kind", "name", "start_ns").filter(
        pl.col("kind").is_in(c.LAUNCH_KINDS)
    )
    edges = calls.filter(
        pl.col("start_ns").is_in([calls["start_ns"].min(), calls["start_ns"].max()])
    )
    syncs = edges.filter(pl.col("name").cast(pl.String).is_in(_DEVICE_SYNC))["start_ns"]
    return pl.any_horizontal(
        pl.lit(value=False), *((pl.col("start_ns") <= at) & (pl.col("end_ns") > at) for at in syncs)
    )
