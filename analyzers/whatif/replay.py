"""A recorded window that can be replayed with changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.whatif.changes import HostScaled, Unrecorded, changed
from mmprof.analyzers.whatif.critical import unexplained_ns
from mmprof.analyzers.whatif.schedule import window_ns, with_held
from mmprof.analyzers.whatif.timeline import HOST_STATES, Timeline, timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.changes import Change

ERROR_LIMIT: Final = 0.10
"""A replay that misses the measured window by more predicts nothing: design, section 4."""

PROFILER_SHARE: Final = 0.5
"""Of recorded host time, what may be the profiler's where that was not measured: un-profiled runs of small models took between 0.3
and 0.8 of the profiled time, with operators recorded only."""

MOST_EVENT_NS: Final = 10_000.0
"""No recorded event costs more: 3 us were measured without shapes and 8 us with them, on a slow CPU."""

_HALVINGS: Final = 14


@dataclass(frozen=True)
class Replay:
    """A window, and how long it would take with other causes.

    Attributes:
        view: The window.
    """

    view: View

    @cached_property
    def recorded(self) -> Timeline:
        """The graph of what waits for what, as it was recorded."""
        return timeline(self.view)

    @property
    def window_ns(self) -> int:
        """The measured window."""
        return self.view.window_ns

    @cached_property
    def replayed_ns(self) -> int:
        """The window when each edge takes what is typical, not what was left to explain: what the causes account for."""
        return window_ns(_typical(self.recorded))

    @property
    def error(self) -> float:
        """How far that is from the measured window, as a share of it; 0 for an empty window."""
        return abs(self.replayed_ns - self.window_ns) / self.window_ns if self.window_ns else 0.0

    @cached_property
    def unexplained(self) -> float:
        """Share of the measured window that the critical path spends on edges beyond what they usually take.

        The error says how far all that is off together; this also counts what other edges make up for.
        """
        return unexplained_ns(self.recorded) / self.window_ns if self.window_ns else 0.0

    @property
    def reliable(self) -> bool:
        """Whether the replay may predict."""
        return self.window_ns > 0 and max(self.error, self.unexplained) <= ERROR_LIMIT

    @cached_property
    def unprofiled_ns(self) -> int | None:
        """The window as long as un-profiled runs say; None where the sidecar has none of the whole run."""
        sidecar = self.view.trace.sidecar
        timing = sidecar.timing if sidecar else None
        if (
            timing is None
            or not timing.median_s
            or not timing.profiled_s
            or not timing.profiled_whole
        ):
            return None
        return round(self.window_ns * timing.median_s / timing.profiled_s)

    @cached_property
    def event_cost_ns(self) -> float | None:
        """What the profiler took for each event of the host, so that the window is as long as un-profiled runs say.

        No more than `MOST_EVENT_NS`: what is left then has other reasons. None where there are no such runs.
        """
        return None if self.unprofiled_ns is None else self._cost_for(self.unprofiled_ns)

    @cached_property
    def base(self) -> Timeline:
        """The recorded timeline without what the profiler cost, as far as that is known."""
        cost = self.event_cost_ns
        return self.recorded if not cost else self._without(cost)

    @cached_property
    def base_ns(self) -> int:
        """The window of `base`, which speedups are relative to."""
        return window_ns(self.base)

    @cached_property
    def collectives(self) -> pl.Series:
        """The window's activities that end only when other ranks have come: what those do, the trace of one does not show."""
        acts = self.view.activities
        if self.view.is_host:
            return acts["row"].clear()
        alone = pl.col("group_size") == 1
        return acts.filter((pl.col("class") == "communication") & ~alone)["row"]

    @cached_property
    def cautious(self) -> Timeline:
        """The base if half of the host's time were the profiler's, where that is not known, and no other rank got faster."""
        unknown = self.event_cost_ns is None
        base = HostScaled(1 - PROFILER_SHARE).apply(self.base, self.base) if unknown else self.base
        return base if self.collectives.is_empty() else with_held(base, self.collectives)

    @cached_property
    def cautious_ns(self) -> int:
        """The window of `cautious`."""
        return window_ns(self.cautious)

    def with_changes(self, changes: Iterable[Change]) -> int:
        """The window in nanoseconds with changes."""
        return window_ns(changed(self.base, changes))

    def speedup(self, changes: Iterable[Change]) -> float:
        """How many times faster the window is with changes."""
        return self.base_ns / max(self.with_changes(changes), 1)

    def cautious_speedup(self, changes: Iterable[Change]) -> float:
        """The same, or that of the cautious base if that is less."""
        changes = tuple(changes)
        if self.cautious is self.base:
            return self.speedup(changes)
        less_ns = window_ns(changed(self.cautious, changes))
        return min(self.speedup(changes), self.cautious_ns / max(less_ns, 1))

    def rows_of(self, nodes: pl.Series) -> pl.Series:
        """The activities of the view that some calls launched."""
        return self.recorded.activities.filter(pl.col("node").is_in(nodes.implode()))["row"]

    def spent_ns(self, rows: pl.Series) -> int:
        """The window's time for activities of the view and for launching them; on a device the two run at the same time."""
        acts = self.base.activities.filter(pl.col("row").is_in(rows.implode()))
        device_ns, host_ns = int(acts["dur_ns"].sum()), self.host_ns(acts["node"].unique())
        return device_ns + host_ns if self.view.is_host else max(device_ns, host_ns)

    def host_ns(self, nodes: pl.Series) -> int:
        """The host's time for some calls: in them, and since the call before; what lies before the window does not count."""
        mine = self.base.events.filter(
            pl.col("node").is_in(nodes.implode()) & ~pl.col("kept") & ~pl.col("is_wait")
        )
        return int(mine.select(pl.sum_horizontal(*HOST_STATES, "call_ns").sum()).item())

    def _cost_for(self, wanted_ns: int) -> float:
        low, high = 0.0, MOST_EVENT_NS
        if wanted_ns >= self.window_ns:
            return low
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            shorter = window_ns(self._without(middle)) < wanted_ns
            low, high = (low, middle) if shorter else (middle, high)
        return low

    def _without(self, event_ns: float) -> Timeline:
        return Unrecorded(event_ns).apply(self.recorded, self.recorded)


def _typical(recorded: Timeline) -> Timeline:
    known, linked = recorded.typical, pl.col("node") > 0
    not_first = pl.col("stream").is_duplicated() & ~pl.col("stream").is_first_distinct()
    # what the first activity waited for lies before the recording
    later = pl.col("start_ns") > pl.col("start_ns").min()
    latency = pl.when(linked & later & pl.col("latency_ns").is_not_null()).then("usual_latency_ns")
    activities = recorded.activities.with_columns(
        latency_ns=latency.otherwise("latency_ns"),
        lag_ns=pl.when(not_first).then(known.lag_ns).otherwise(0),
        after_ns=pl.when(pl.col("after") >= 0).then(known.lag_ns).otherwise(0),
    )
    returns = pl.when(pl.col("waits_for") >= 0).then(known.return_ns).otherwise(0)
    events = recorded.events.with_columns(return_ns=returns)
    return replace(recorded, activities=activities, events=events)
