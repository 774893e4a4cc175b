"""How activities were launched: calls, delays, queue depth, and whether the host or the device set the pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers import intervals
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# CUDA holds 1024 launches per channel; the call that finds it full waits for a place.
FULL_QUEUE_DEPTH: Final = 1000
# A call that waits for a place takes as long as a kernel; the spread of ordinary calls stays far below this.
BLOCKED_CALL_FACTOR: Final = 10
HOST_BOUND_SHARE: Final = 0.5
HOST_BOUND_WAIT: Final = 0.2
HOST_WAITS_MOST: Final = 0.5
DEVICE_BOUND_WAIT: Final = 0.1
_QUANTILES: Final = {"median": 0.5, "p90": 0.9, "max": 1.0}


class Spread(Struct, frozen=True):
    """Distribution of a duration; a percentile between two recorded values is the lower one.

    Attributes:
        median_ns: Half of the values are at most this.
        p90_ns: Nine in ten are at most this.
        max_ns: Largest.
    """

    median_ns: int
    p90_ns: int
    max_ns: int


class LaunchCallRow(Struct, frozen=True):
    """The launch calls of one function of the runtime or driver.

    Attributes:
        api: Name of the function.
        count: Calls that launched at least one activity of the window.
        activities: Activities they launched; more than count for graphs.
        time_ns: Sum of the calls' durations.
        median_ns: Median duration of a call.
        p90_ns: 90th percentile.
        max_ns: Longest call.
    """

    api: str
    count: int
    activities: int
    time_ns: int
    median_ns: int
    p90_ns: int
    max_ns: int


class ShortKernels(Struct, frozen=True):
    """Kernels that ran for less time than launching them took.

    A call that launches several kernels is shared out among them evenly.

    Attributes:
        count: Number of them.
        own_ns: Busy time that they own.
        share: Part of all kernels with a known launch.
    """

    count: int
    own_ns: int
    share: float


class LaunchStatistics(Struct, frozen=True):
    """Launch calls and what followed them.

    A launch is *starved* if the device was idle before its first activity and the host is the reason: the device had
    already run dry when the call began, or the activity started after its call no later than is usual on a dry device
    (the median of those). The verdict is

    - `host-bound` if the idle time before starved launches is half of the window, or a fifth of it and at least half
      of the launches are starved,
    - `device-bound` if that idle time is less than a tenth of the window,
    - `mixed` in between, `unknown` where no launch is in the trace.

    Attributes:
        count: Launch calls.
        activities: Activities with a known launch.
        activities_per_launch_max: Most activities of one call.
        call: Duration of a call.
        call_sum_ns: Sum over all calls.
        queue_delay: Time from the end of a call to the start of its first activity; 0 if it started earlier.
        launch_delay: Time from the start of a call to the start of its first activity.
        short_kernels: Kernels shorter than their launch.
        host_bound_share: Share of the launches that are starved.
        host_wait_ns: Idle time before the first activities of starved launches.
        verdict: host-bound, device-bound, mixed or unknown.
        max_queue_depth: Most launches to one stream that had not started.
        queue_full_calls: Calls made at a depth of 1000 or more that took over ten times the median of their function.
        queue_full_ns: What these calls took beyond the median.
        command_buffer_full_ns: Time that the profiler recorded as waiting for a full command buffer, in the process.
        early_starts: First activities that start before their launch: the clocks of host and device differ.
    """

    count: int
    activities: int
    activities_per_launch_max: int
    call: Spread
    call_sum_ns: int
    queue_delay: Spread
    launch_delay: Spread
    short_kernels: ShortKernels
    host_bound_share: float
    host_wait_ns: int
    verdict: str
    max_queue_depth: int
    queue_full_calls: int
    queue_full_ns: int
    command_buffer_full_ns: int
    early_starts: int


class Launches(Struct, frozen=True):
    """How the device's activities were launched.

    Attributes:
        launches: Statistics of all launches.
        launch_calls: Launch calls by function, by time.
    """

    launches: LaunchStatistics
    launch_calls: list[LaunchCallRow]


@analysis(
    "device",
    Table(
        "launch_calls",
        "Launch calls",
        "api",
        ("count", "activities", "time_ns", "median_ns", "p90_ns", "max_ns"),
        by="launch",
    ),
)
def launches(view: View) -> Launches:
    """Measure the calls that launched the activities, and the delays from call to start."""
    linked = _linked(view.activities)
    calls = _calls(linked, view)
    return Launches(
        launches=_statistics(view, linked, calls),
        launch_calls=[LaunchCallRow(*row) for row in _by_api(calls).iter_rows()],
    )


def _linked(activities: pl.DataFrame) -> pl.DataFrame:
    """The activities with a known launch; a CPU-only view has none: there, the activity itself is on the host."""
    columns = activities.select(
        "row",
        "kind",
        "stream",
        "launch",
        "launch_start_ns",
        "start_ns",
        "dur_ns",
        "own_ns",
        call_ns=pl.col("launch_end_ns") - pl.col("launch_start_ns"),
    )
    return columns.filter(pl.col("launch").is_not_null() & (pl.col("kind") != c.OPERATOR))


def _calls(linked: pl.DataFrame, view: View) -> pl.DataFrame:
    """One row a launch call, by the start of its first activity.

    Columns: `launch`, `api`, `activities`, `stream`, `start_ns` (of its first activity), `launch_start_ns`, `call_ns`,
    `queue_ns`, `delay_ns` (see LaunchStatistics), `idle_ns` (of the device before that activity) and `depth`.
    """
    idle = view.gaps.select("row", idle_ns=pl.col("end_ns") - pl.col("start_ns"))
    first = ("row", "stream", "launch_start_ns", "start_ns", "call_ns")
    calls = (
        linked.group_by("launch", maintain_order=True)
        .agg(pl.col(first).first(), activities=pl.len().cast(pl.Int64))
        .join(idle, on="row", how="left", maintain_order="left")
    )
    delay = pl.col("start_ns") - pl.col("launch_start_ns")
    return calls.with_columns(
        pl.col("idle_ns").fill_null(0),
        _depth(calls),
        api=view.trace.host["name"][calls["launch"]],
        queue_ns=(delay - pl.col("call_ns")).clip(0),
        delay_ns=delay.clip(0),
    )


def _depth(calls: pl.DataFrame) -> pl.Series:
    """Launches of the same stream that have not started when each call begins, itself included.

    A launch enters the queue at its call's start and leaves it at its first activity's. Over all streams one after the
    other, what entered until then less what left before is the depth: earlier streams cancel.
    """
    left = pl.max_horizontal("start_ns", "launch_start_ns")
    first = pl.col("launch_start_ns").min()
    offset = pl.col("stream").rank("dense").cast(pl.Int64) * (left.max() - first + 1) - first
    keys = calls.select(entered=pl.col("launch_start_ns") + offset, left=left + offset)
    before = keys["entered"].sort().search_sorted(keys["entered"], side="right").cast(pl.Int64)
    gone = keys["left"].sort().search_sorted(keys["entered"], side="left").cast(pl.Int64)
    return (before - gone).alias("depth")


def _by_api(calls: pl.DataFrame) -> pl.DataFrame:
    sums = calls.group_by(pl.col("api").cast(pl.String)).agg(
        pl.len().cast(pl.Int64),
        pl.col("activities").sum(),
        pl.col("call_ns").sum(),
        *(_quantile("call_ns", q).alias(name) for name, q in _QUANTILES.items()),
    )
    return sums.sort("call_ns", "api", descending=[True, False])


def _quantile(column: str, quantile: float) -> pl.Expr:
    return pl.col(column).quantile(quantile, interpolation="lower").cast(pl.Int64)


def _statistics(view: View, linked: pl.DataFrame, calls: pl.DataFrame) -> LaunchStatistics:
    starved = _starved(calls)
    share = len(starved) / len(calls) if len(calls) else 0.0
    wait_ns = int(starved["idle_ns"].sum())
    full = _blocked(calls)
    return LaunchStatistics(
        count=len(calls),
        activities=len(linked),
        activities_per_launch_max=_max(calls["activities"]),
        call=_spread(calls, "call_ns"),
        call_sum_ns=int(calls["call_ns"].sum()),
        queue_delay=_spread(calls, "queue_ns"),
        launch_delay=_spread(calls, "delay_ns"),
        short_kernels=_short_kernels(linked, calls),
        host_bound_share=share,
        host_wait_ns=wait_ns,
        verdict=_verdict(share, wait_ns / view.window_ns)
        if len(calls) and view.window_ns
        else "unknown",
        max_queue_depth=_max(calls["depth"]),
        queue_full_calls=len(full),
        queue_full_ns=int(full["beyond_ns"].sum()),
        command_buffer_full_ns=_command_buffer_full_ns(view),
        early_starts=int((calls["start_ns"] < calls["launch_start_ns"]).sum()),
    )


def _max(values: pl.Series) -> int:
    return int(values.max() or 0)  # type: ignore[arg-type]


def _spread(calls: pl.DataFrame, column: str) -> Spread:
    if calls.is_empty():
        return Spread(0, 0, 0)
    return Spread(
        *calls.select(_quantile(column, q).alias(n) for n, q in _QUANTILES.items()).row(0)
    )


def _starved(calls: pl.DataFrame) -> pl.DataFrame:
    """Launches whose first activity the idle device waited for because of the host."""
    gap = calls.filter(pl.col("idle_ns") > 0)
    dry = pl.col("start_ns") - pl.col("idle_ns") <= pl.col("launch_start_ns")
    usual = pl.col("queue_ns").filter(dry).median().fill_null(0)
    return gap.filter(dry | (pl.col("queue_ns") <= usual))


def _verdict(share: float, wait_share: float) -> str:
    if wait_share < DEVICE_BOUND_WAIT:
        return "device-bound"
    starved = share >= HOST_BOUND_SHARE and wait_share >= HOST_BOUND_WAIT
    return "host-bound" if starved or wait_share >= HOST_WAITS_MOST else "mixed"


def _blocked(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls that waited for a place in a full queue, with `beyond_ns`, what they took beyond the usual."""
    usual = calls.group_by("api").agg(usual_ns=_quantile("call_ns", 0.5))
    deep = calls.filter(pl.col("depth") >= FULL_QUEUE_DEPTH).join(usual, on="api")
    blocked = deep.filter(pl.col("call_ns") > BLOCKED_CALL_FACTOR * pl.col("usual_ns"))
    return blocked.with_columns(beyond_ns=pl.col("call_ns") - pl.col("usual_ns"))


def _short_kernels(linked: pl.DataFrame, calls: pl.DataFrame) -> ShortKernels:
    kernels = linked.filter(pl.col("kind") == c.KERNEL)
    shared = kernels.filter(pl.col("dur_ns") < pl.col("call_ns")).join(
        calls.select("launch", "activities"), on="launch"
    )
    short = shared.filter(pl.col("dur_ns") * pl.col("activities") < pl.col("call_ns"))
    share = len(short) / len(kernels) if len(kernels) else 0.0
    return ShortKernels(len(short), int(short["own_ns"].sum()), share)


def _command_buffer_full_ns(view: View) -> int:
    overhead = view.trace.other.filter(pl.col("category") == c.OVERHEAD)
    named = overhead.filter(pl.col("name").cast(pl.String) == "Command Buffer Full")
    full = intervals.merge(named)
    if view.spans is not None:
        full = intervals.intersect(full, intervals.merge(view.spans))
    return intervals.length(full)
