"""A view: one device of one trace, in one window. What several analyses share is computed here once.

A CPU-only trace has one view, whose activities are the working operators of the main thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import attribution, busy, costing, idle, intervals
from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.lineage import Lineage, lineage

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceMatch
    from mmprof.analyzers.hostwork import HostWork
    from mmprof.analyzers.trace import Trace

HOST_DEVICE: Final = -1


@dataclass(frozen=True)
class View:
    """One device of a trace, in one window.

    Attributes:
        trace: The trace.
        host: What the host did, shared by the views of a trace.
        device: Device index; `HOST_DEVICE` for the host of a CPU-only trace.
        spans: Spans (`start_ns`, `end_ns`, disjoint) that select activities by the start of their launch (by their own
            start where they have no launch); None selects all.
        match: The device's peaks, None where the device is not known.
    """

    trace: Trace
    host: HostWork
    device: int
    spans: pl.DataFrame | None = None
    match: DeviceMatch | None = field(default=None)

    @property
    def is_host(self) -> bool:
        """Whether the main thread stands for the device."""
        return self.device == HOST_DEVICE

    @cached_property
    def all_activities(self) -> pl.DataFrame:
        """Every activity of the device by start, carry-in included, with its launch's thread and times."""
        if self.is_host:
            return self.host.working_operators
        return self.host.with_launch(self.trace.activities.filter(pl.col("device") == self.device))

    @cached_property
    def selected(self) -> pl.DataFrame:
        """The activities of the window by start, with `span`, the number of the span that selected them."""
        linked = self.all_activities.filter(~pl.col("carry_in"))
        if self.spans is None:
            return linked.with_columns(span=pl.lit(0, pl.Int64))
        at = (
            linked["launch_start_ns"].fill_null(linked["start_ns"])
            if linked.height
            else linked["start_ns"]
        )
        spans = self.spans.sort("start_ns")
        span = spans["start_ns"].search_sorted(at, side="right").cast(pl.Int64) - 1
        inside = (span >= 0) & (at < spans["end_ns"][span.clip(0)])
        return linked.with_columns(span=span).filter(inside)

    @cached_property
    def window(self) -> pl.DataFrame:
        """The device window: first start to last end (one interval, or one per selected span)."""
        return busy.windows(self.selected)

    @cached_property
    def window_ns(self) -> int:
        """Length of the window."""
        return intervals.length(self.window)

    @cached_property
    def busy_ns(self) -> int:
        """Time with at least one activity."""
        return intervals.union_length(self.selected)

    @cached_property
    def lineage(self) -> Lineage:
        """Names around the launch of each selected activity, or around that of its counterpart in a twin."""
        return lineage(
            self.host, self.selected.get_column("around", default=self.selected["launch"])
        )

    @cached_property
    def activities(self) -> pl.DataFrame:
        """The selected activities with `class`, `rule`, `by`, `in_chain`, `path`, `dur_ns` and `own_ns`.

        `own_ns` shares overlapped time out by class, so that it sums to busy under any grouping.
        """
        classified = attribution.classified(self.selected, self.lineage, self.trace.calls)
        return classified.with_columns(
            busy.own(classified, CLASSES).alias("own_ns"),
            dur_ns=pl.col("end_ns") - pl.col("start_ns"),
        )

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """Idle gaps: `start_ns`, `end_ns`, `row` (the activity that ends the gap) and one column per idle cause."""
        gaps = busy.gaps(self.selected, self.window)
        return idle.causes(gaps, self.selected, self.outside, self.host)

    @cached_property
    def outside(self) -> pl.DataFrame:
        """Time in which the device ran what is not selected: carry-in, or the work of other spans."""
        others = self.all_activities.join(self.selected.select("row"), on="row", how="anti")
        return intervals.merge(others)

    @cached_property
    def costs(self) -> pl.DataFrame:
        """FLOPs, bytes and bound of each of `activities`, see `costing.costs`."""
        return costing.costs(self.activities, self.host, self.match.spec if self.match else None)
