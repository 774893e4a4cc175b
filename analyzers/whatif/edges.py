"""The times between what waits and what it waits for.

Only the edge that decided a start can be read from a trace: it takes what is left over. The others get the typical value of the
trace, as far as that does not contradict what was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

# Used only where the trace has no such edge. Between kernels that were queued on one stream, and from the begin of a launch call
# to the start of its kernel on an idle device: the medians of the public H100 and MI300X traces lie around these.
FALLBACK_LAG_NS: Final = 1_000
FALLBACK_LATENCY_NS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Typical:
    """What edges take where it is known, as medians of the trace.

    Attributes:
        latency_ns: From the begin of a launch call to the start of its activity on an idle device.
        lag_ns: Between queued activities of a stream.
        return_ns: From the end of what a call waits for to its return.
        call_ns: A launch call.
    """

    latency_ns: int
    lag_ns: int
    return_ns: int
    call_ns: int


AT_ONCE: Final = Typical(latency_ns=0, lag_ns=0, return_ns=0, call_ns=0)
"""The edges of a host that does the work itself: a called operator runs at once."""


def typical(activities: pl.DataFrame, events: pl.DataFrame) -> Typical:
    """The medians of the edges that decided alone.

    Args:
        activities: With `after`.
        events: Calls by start.
    """
    first = _with_before(activities).filter(
        pl.col("node").is_first_distinct()
        & pl.col("launch_start_ns").is_not_null()
        & (pl.col("after") < 0)
    )
    start, launched, before = (pl.col(c) for c in ("start_ns", "launch_start_ns", "before_ns"))
    # what the first of all had to wait for lies before the recording
    known = launched.is_not_null() & (start > activities["start_ns"].min())
    idle = known & (launched >= before).fill_null(value=True) & (start > launched)
    queued = (pl.col("launch_end_ns") < before) & (start >= before)
    calls = events.filter(~pl.col("is_wait")).slice(1)
    return Typical(
        latency_ns=_median(first.filter(idle), start - launched, FALLBACK_LATENCY_NS),
        lag_ns=_median(first.filter(queued), start - before, FALLBACK_LAG_NS),
        return_ns=_median(
            _blocked(activities, events), pl.col("end_ns") - pl.col("ended_ns"), FALLBACK_LATENCY_NS
        ),
        call_ns=_median(calls, pl.col("end_ns") - pl.col("start_ns"), FALLBACK_LATENCY_NS),
    )


def with_awaited_activity(activities: pl.DataFrame, trace: Trace) -> pl.DataFrame:
    """Add `after`, an activity of another stream that each one waited for, and `awaited_ns`, when that ended; -1 and null.

    Known are the events that a stream was told to wait for, and the nodes of one graph.
    """
    previous_end, previous_stream = pl.col("end_ns").shift(1), pl.col("stream").shift(1)
    in_graph = (
        ~pl.col("node").is_first_distinct()
        & (pl.col("node") > 0)
        & (previous_stream != pl.col("stream"))
        & (previous_end <= pl.col("start_ns"))
    )
    told = _told_to_wait(activities, trace)
    joined = activities.join(told, on="at", how="left", maintain_order="left")
    after = pl.coalesce(
        pl.when(pl.col("awaited_ns") <= pl.col("start_ns")).then("awaited"),
        pl.when(in_graph).then(pl.col("at") - 1),
    )
    ended = activities["end_ns"]
    found = joined.select(after.alias("after")).to_series()
    return activities.with_columns(after=found.fill_null(-1), awaited_ns=ended.gather(found))


def with_edges(activities: pl.DataFrame, known: Typical, *, begin_ns: int) -> pl.DataFrame:
    """Add `latency_ns` (null where the launch of a graph decides of its first node only), `lag_ns` and `after_ns`.

    Also `usual_latency_ns`, which a launch takes where it does not decide.

    Args:
        activities: By event and start, with `after` and `awaited_ns`.
        known: Medians of the trace.
        begin_ns: Of the recording, from which the starts of unlinked activities count.
    """
    start, launched, before, awaited = (
        pl.col(c) for c in ("start_ns", "launch_start_ns", "before_ns", "awaited_ns")
    )
    follows = ~pl.col("node").is_first_distinct() & pl.coalesce(before, awaited).is_not_null()
    usual, lag = pl.col("usual_latency_ns"), pl.lit(known.lag_ns)
    by_launch = pl.when(~follows).then(launched + usual)
    decided = pl.max_horizontal(by_launch, before + known.lag_ns, awaited + known.lag_ns)
    unlinked = launched.is_null() & before.is_null()
    limits = (
        _with_before(activities)
        .with_columns(usual_latency_ns=_usual_latency_ns(known))
        .with_columns(decided=decided, by_launch=by_launch)
    )
    return limits.select(
        pl.exclude("before_ns", "awaited_ns", "launch_start_ns", "launch_end_ns", "decided", "by_launch"),
        latency_ns=pl.when(unlinked)
        .then(start - begin_ns)
        .when(pl.col("by_launch").is_not_null())
        .then(_left(start - launched, pl.col("by_launch"), usual)),
        lag_ns=_left(start - before, before + known.lag_ns, lag).fill_null(0),
        after_ns=_left(start - awaited, awaited + known.lag_ns, lag).fill_null(0),
    )  # fmt: skip


def with_waits(
    events: pl.DataFrame, activities: pl.DataFrame, known: Typical, *, is_host: bool
) -> pl.DataFrame:
    """Add `call_ns`, `waits_for` and `return_ns`: what each call waits for, and what it takes beside that.

    Args:
        events: Calls by start.
        activities: By event, with `at`.
        known: Medians of the trace.
        is_host: Whether the activities are the host's own work, which every call of them waits for.
    """
    waits_for = _own_work(events, activities) if is_host else _waits_for(events, activities)
    ended = activities["end_ns"].gather(waits_for)
    blocks = (pl.col("ended_ns") > pl.col("start_ns")).fill_null(value=False)
    length, after = pl.col("end_ns") - pl.col("start_ns"), pl.col("end_ns") - pl.col("ended_ns")
    usual = pl.min_horizontal(length, pl.lit(known.return_ns))
    return events.with_columns(waits_for=waits_for.fill_null(-1), ended_ns=ended).select(
        pl.exclude("ended_ns"),
        call_ns=pl.when(blocks).then(usual).otherwise(length),
        return_ns=pl.when(blocks)
        .then(after)
        .otherwise(pl.min_horizontal(after, pl.lit(known.return_ns)))
        .fill_null(0),
    )


def _left(recorded: pl.Expr, reached: pl.Expr, usual_ns: pl.Expr) -> pl.Expr:
    """What an edge takes: all that was recorded if it decided, else the usual at most."""
    decides = reached == pl.col("decided")
    return pl.when(decides).then(recorded).otherwise(pl.min_horizontal(recorded, usual_ns))


def _usual_latency_ns(known: Typical) -> pl.Expr:
    """What a launch on an idle stream takes; a slow call, such as one that loads the kernel's code, is slow before it launches.

    Unless the activity ran before the call returned: then the call was slow after it.
    """
    start, launched = pl.col("start_ns"), pl.col("launch_start_ns")
    slow = (pl.col("launch_end_ns") - launched - known.call_ns).clip(0)
    within = pl.min_horizontal(known.latency_ns + slow, start - launched).clip(known.latency_ns)
    idle = (launched >= pl.col("before_ns")).fill_null(value=True)
    return pl.when(idle).then(within).otherwise(known.latency_ns).fill_null(known.latency_ns)


def _with_before(activities: pl.DataFrame) -> pl.DataFrame:
    """Add `before_ns`: when the stream had finished all earlier activities; null for its first."""
    return activities.with_columns(before_ns=pl.col("end_ns").cum_max().shift(1).over("stream"))


def _median(frame: pl.DataFrame, value: pl.Expr, fallback: int) -> int:
    found = frame.select(value.median()).item()
    return fallback if found is None else round(float(found))


def _blocked(activities: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The calls that an activity held, with the end of the last one, `ended_ns`."""
    ends = activities.select(ended_ns="end_ns").sort("ended_ns")
    waits = events.filter("is_wait").sort("end_ns")
    last = waits.join_asof(ends, left_on="end_ns", right_on="ended_ns")
    return last.filter(pl.col("ended_ns") > pl.col("start_ns"))


def _told_to_wait(activities: pl.DataFrame, trace: Trace) -> pl.DataFrame:
    """For the first activity after a stream wait: `awaited`, the last one launched before the event, and its end."""
    launched = (
        activities.filter(pl.col("launch_start_ns").is_not_null())
        .select("at", "end_ns", "launch_start_ns", stream=pl.col("stream_id").cast(pl.Int64))
        .sort("launch_start_ns")
    )
    awaited = launched.select(
        "launch_start_ns", awaited="at", awaited_ns="end_ns", wait_on_stream="stream"
    )
    pairs = (
        _stream_waits(trace)
        .sort("recorded_ns")
        .join_asof(
            awaited,
            left_on="recorded_ns",
            right_on="launch_start_ns",
            by="wait_on_stream",
            check_sortedness=False,
        )
        .drop("launch_start_ns")
    )
    following = pairs.sort("called_ns").join_asof(
        launched.select("at", "launch_start_ns", "stream"),
        left_on="called_ns",
        by="stream",
        right_on="launch_start_ns",
        strategy="forward",
        check_sortedness=False,
    )
    known = following.filter(pl.col("at").is_not_null() & (pl.col("awaited") < pl.col("at")))
    return known.sort("awaited_ns").unique("at", keep="last").select("at", "awaited", "awaited_ns")


def _stream_waits(trace: Trace) -> pl.DataFrame:
    """Calls that make a stream wait: called_ns, stream, wait_on_stream, and recorded_ns, when the event was recorded."""
    calls = trace.host.filter(pl.col("correlation").is_not_null()).select(
        "correlation", called_ns="start_ns"
    )
    waits = trace.syncs.filter(pl.col("wait_on_stream").is_not_null() & (pl.col("stream") >= 0))
    recorded = calls.rename({"correlation": "wait_on_correlation", "called_ns": "recorded_ns"})
    return (
        waits.join(calls, on="correlation", how="inner")
        .join(recorded, on="wait_on_correlation", how="left")
        .select(
            "called_ns",
            pl.col("stream", "wait_on_stream").cast(pl.Int64),
            recorded_ns=pl.coalesce("recorded_ns", "called_ns"),
        )
    )


def _own_work(events: pl.DataFrame, activities: pl.DataFrame) -> pl.Series:
    last = activities.group_by("node").agg(pl.col("at").last())
    return events.join(last, on="node", how="left", maintain_order="left")["at"]


def _waits_for(events: pl.DataFrame, activities: pl.DataFrame) -> pl.Series:
    """What each call waits for: of the activities launched before it that ended in it, the last; a copy its own.

    A kernel may end while its launch call still runs: only copies hold the call that launched them. A call on an idle device waits for what it launched last all the same: it would wait if the host were faster.
    """
    last = activities.group_by("node", "stream", maintain_order=True).agg(
        pl.col("at", "is_copy").last(), pl.col("end_ns").max()
    )
    launched: dict[int, list[tuple[int, int, int, bool]]] = {}
    for node, stream, at, is_copy, end_ns in last.iter_rows():
        launched.setdefault(node, []).append((end_ns, at, stream, is_copy))
    newest: dict[int, tuple[int, int]] = {}
    found: list[int | None] = []
    for node, end_ns, is_wait in events.select("node", "end_ns", "is_wait").iter_rows():
        own = launched.get(node, [])
        newest.update({stream: (ended, at) for ended, at, stream, _ in own})
        copies = [(ended, at) for ended, at, _, is_copy in own if is_copy]
        done = [pair for pair in (newest.values() if is_wait else copies) if pair[0] <= end_ns]
        found.append(max(done)[1] if done and node else None)
    return pl.Series(found, dtype=pl.Int64)
