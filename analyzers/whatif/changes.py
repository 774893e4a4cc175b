"""What a lever changes in a timeline, as values that combine.

Every change says what is left of the times of the unchanged timeline. Where several act on the same time, the least that one of
them leaves counts, so that nothing is gained twice, and their order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from mmprof.analyzers.whatif.timeline import HOST_STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmprof.analyzers.whatif.timeline import Timeline

LAUNCH: Final = "launch"
"""The launch calls themselves, beside the states of the host between them."""

HOST_WORK: Final = ("dispatch", "python", "runtime", "profiler", LAUNCH)
"""What the host needs to launch: calls, operators and the interpreter."""


class Change(Protocol):
    """A change of a timeline."""

    def apply(self, now: Timeline, base: Timeline) -> Timeline:
        """The changed timeline.

        Args:
            now: With the changes before.
            base: Without any.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shortened:
    """Activities that take less.

    Attributes:
        times: `row` (of the view's activities) and `left_ns`, what is left of each.
    """

    times: pl.DataFrame

    def apply(self, now: Timeline, base: Timeline) -> Timeline:  # noqa: ARG002  (`left_ns` is absolute)
        """Give each activity the time that is left."""
        left = self.times.select("row", pl.col("left_ns").cast(pl.Int64)).unique("row")
        joined = now.activities.join(left, on="row", how="left", maintain_order="left")
        shorter = pl.min_horizontal("dur_ns", pl.col("left_ns").clip(0))
        return replace(now, activities=joined.with_columns(dur_ns=shorter).drop("left_ns"))


@dataclass(frozen=True, slots=True)
class Replaced:
    """Activities that stand for several that are removed.

    Attributes:
        times: `row` (of the view's activities) and `left_ns`, the time of what takes their place; may be longer than theirs.
    """

    times: pl.DataFrame

    def apply(self, now: Timeline, base: Timeline) -> Timeline:
        """Give each its time, unless another change left less of it."""
        was = base.activities["dur_ns"]
        new = self.times.select("row", pl.col("left_ns").cast(pl.Int64)).unique("row")
        joined = now.activities.with_columns(was=was).join(
            new, on="row", how="left", maintain_order="left"
        )
        untouched = pl.col("dur_ns") == pl.col("was")
        time = pl.when(untouched).then("left_ns").otherwise(pl.min_horizontal("dur_ns", "left_ns"))
        changed_ns = pl.coalesce(time, "dur_ns")
        return replace(
            now, activities=joined.with_columns(dur_ns=changed_ns).drop("left_ns", "was")
        )


@dataclass(frozen=True, slots=True)
class Removed:
    """Activities that are not run.

    Attributes:
        rows: Rows of the view's activities.
        host: The host's time before their launches that goes with them, where everything that a call launched is gone.
    """

    rows: pl.Series
    host: tuple[str, ...] = ("dispatch", "runtime", "profiler", LAUNCH)

    def apply(self, now: Timeline, base: Timeline) -> Timeline:
        """Take the activities and the host's time for them away."""
        mine = pl.col("row").is_in(self.rows.implode())
        gone = now.activities.with_columns(gone=pl.col("gone") | mine)
        launches = gone.filter(mine)["node"].unique()
        empty = gone.filter(pl.col("node").is_in(launches.implode())).group_by("node").agg(
            pl.col("gone").all()
        )  # fmt: skip
        nodes = empty.filter("gone")["node"]
        return HostScaled(0.0, self.host, nodes).apply(replace(now, activities=gone), base)


@dataclass(frozen=True, slots=True)
class HostScaled:
    """Host time that shrinks.

    Attributes:
        factor: What is left of it, as a share.
        states: Which of `HOST_STATES`, and `LAUNCH` for the calls.
        nodes: The calls before which it is spent; None for all.
    """

    factor: float
    states: tuple[str, ...] = HOST_WORK
    nodes: pl.Series | None = None

    def apply(self, now: Timeline, base: Timeline) -> Timeline:
        """Scale the times of the base; what lies before the window stays."""
        here = (
            pl.lit(value=True) if self.nodes is None else pl.col("node").is_in(self.nodes.implode())
        )
        was = base.events.select(pl.col(*HOST_STATES, "call_ns", "lead_ns").name.prefix("was_"))
        events = pl.concat([now.events, was], how="horizontal")
        between: dict[str, pl.Expr] = {
            s: here & ~pl.col("kept") for s in HOST_STATES if s in self.states
        }
        calls: dict[str, pl.Expr] = (
            {"call_ns": here & ~pl.col("is_wait")} if LAUNCH in self.states else {}
        )
        # a call that overlaps the one before is moved with it
        leads: dict[str, pl.Expr] = (
            {"lead_ns": here & ~pl.col("kept") & (pl.col("lead_ns") > 0)} if calls else {}
        )
        scaled = (
            pl.when(where).then(pl.min_horizontal(name, self._left(name))).otherwise(name).alias(name)
            for name, where in {**between, **calls, **leads}.items()
        )  # fmt: skip
        return replace(now, events=events.with_columns(scaled).select(now.events.columns))

    def _left(self, name: str) -> pl.Expr:
        return (pl.col(f"was_{name}") * self.factor).round().cast(pl.Int64)


@dataclass(frozen=True, slots=True)
class HostAdded:
    """Host time that a lever itself costs.

    Attributes:
        nodes: The calls before which it is spent, each as often as it stands here.
        each_ns: What one costs.
    """

    nodes: pl.Series
    each_ns: int

    def apply(self, now: Timeline, base: Timeline) -> Timeline:  # noqa: ARG002  (it shortens nothing)
        """Add it; before the window it does not count."""
        times = self.nodes.rename("node").value_counts(name="times")
        joined = now.events.join(times, on="node", how="left", maintain_order="left")
        added = pl.when("kept").then(0).otherwise(pl.col("times").fill_null(0) * self.each_ns)
        events = joined.with_columns(python=pl.col("python") + added.cast(pl.Int64))
        return replace(now, events=events.select(now.events.columns))


@dataclass(frozen=True, slots=True)
class Unwaited:
    """Calls that no longer wait for the device.

    Attributes:
        nodes: The calls; None for all that wait.
    """

    nodes: pl.Series | None = None

    def apply(self, now: Timeline, base: Timeline) -> Timeline:  # noqa: ARG002  (nothing is left of a wait)
        """Let them return at once, without the operators around them that only wait."""
        waits = pl.col("is_wait") | (pl.col("waits_for") >= 0)
        here = waits if self.nodes is None else waits & pl.col("node").is_in(self.nodes.implode())
        around = here | here.shift(1, fill_value=False)
        events = now.events.with_columns(
            waits_for=pl.when(here).then(-1).otherwise("waits_for"),
            call_ns=pl.when(here & pl.col("is_wait")).then(0).otherwise("call_ns"),
            sync=pl.when(around & ~pl.col("kept")).then(0).otherwise("sync"),
        )
        return replace(now, events=events)


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Launches that become one launch of a graph.

    Attributes:
        groups: `node` and `group`, calls that follow one another; the first of a group launches the graph.
        call_ns: What launching a graph takes.
    """

    groups: pl.DataFrame
    call_ns: int

    def apply(self, now: Timeline, base: Timeline) -> Timeline:  # noqa: ARG002  (nothing is left of the calls)
        """Take the calls and the host's time between them away; their activities follow each other on their streams."""
        first = self.groups.group_by("group").agg(pl.col("node").min())["node"]
        rest = self.groups["node"].filter(~self.groups["node"].is_in(first.implode()))
        heads, tails = (pl.col("node").is_in(nodes.implode()) for nodes in (first, rest))
        spared = ("dispatch", "python", "runtime", "profiler", "call_ns")
        nothing = [pl.when(tails).then(0).otherwise(name).alias(name) for name in spared]
        events = now.events.with_columns(
            *nothing, lead_ns=pl.when(tails).then(-1).otherwise("lead_ns")
        ).with_columns(call_ns=pl.when(heads).then(self.call_ns).otherwise("call_ns"))
        known = now.typical
        # what is launched by the graph starts after the call has returned, not while it runs
        waits_ns = pl.min_horizontal("latency_ns", pl.lit(known.latency_ns))
        latency = pl.when(heads).then(waits_ns + self.call_ns - known.call_ns).when(tails).then(waits_ns)  # fmt: skip
        lag = pl.when(tails).then(pl.min_horizontal("lag_ns", pl.lit(known.lag_ns)))
        activities = now.activities.with_columns(
            latency_ns=latency.otherwise("latency_ns"), lag_ns=lag.otherwise("lag_ns")
        )
        return replace(now, events=events, activities=activities)


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Host time without what recording cost.

    Attributes:
        event_ns: What the profiler took for each event that it recorded.
    """

    event_ns: float

    def apply(self, now: Timeline, base: Timeline) -> Timeline:  # noqa: ARG002  (it makes the base)
        """Take that off the host's time, in which the events lie; of no part is less than nothing left."""
        total = pl.sum_horizontal(HOST_STATES)
        left = 1 - (pl.col("recorded_before") * self.event_ns / total.clip(1)).clip(0, 1)
        between = [
            pl.when("kept").then(s).otherwise((pl.col(s) * left).round().cast(pl.Int64)).alias(s)
            for s in HOST_STATES
        ]
        events = now.events.with_columns(between, call_ns=self._left("call_ns"))
        return replace(
            now, events=events, activities=now.activities.with_columns(dur_ns=self._left("dur_ns"))
        )

    def _left(self, name: str) -> pl.Expr:
        cost = (pl.col("recorded_in") * self.event_ns).round().cast(pl.Int64)
        return (pl.col(name) - cost).clip(0)


def changed(base: Timeline, changes: Iterable[Change]) -> Timeline:
    """The timeline with all changes, in any order: what a lever costs comes after what all of them leave, graphs are made of that."""
    now = base
    for change in sorted(changes, key=_turn):
        now = change.apply(now, base)
    return now


def _turn(change: Change) -> int:
    if isinstance(change, Collapsed):
        return 2
    return 1 if isinstance(change, HostAdded) else 0
