"""A window as a graph of what waits for what: calls of the host in order, and the activities that they launch.

An edge holds the time that nothing else explains: from a launch to the start of its activity (`latency_ns`), from the end of
one activity of a stream to the start of the next (`lag_ns`), from what a call waits for to its return (`return_ns`). Only the
edge that decided a start can be read from the trace; the others get the typical value of the trace, as far as that does not
contradict what was recorded. So the graph reproduces the recorded times, and stays a graph of causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.hostwork import STATES
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.whatif import edges, stalls

if TYPE_CHECKING:
    from mmprof.analyzers.hostwork import HostWork
    from mmprof.analyzers.view import View

HOST_STATES: Final = (*STATES, "python")
"""What the host did between two calls, as the idle causes have it."""


@dataclass(frozen=True)
class Timeline:
    """The graph.

    Attributes:
        events: Calls of the host by start, the first one standing for the begin of the recording: `node`, `row` (of the host),
            `thread`, `start_ns`, `end_ns`, `lead_ns` (since the start of the event before, where the two overlap; else -1), a
            column for each of `HOST_STATES` with the time since the end of the event before, `call_ns`, `waits_for` (an
            activity's `at`, -1 for none), `return_ns`, `is_wait`, `kept` (the host time before it is outside the window), `recorded_before` and
            `recorded_in` (host events that the profiler recorded between the calls and in them).
        activities: By event and start: `at`, `row`, `node`, `stream` (a code), `start_ns`, `end_ns`, `dur_ns`, `latency_ns`
            (null where the launch did not decide), `usual_latency_ns` (where it did not), `lag_ns`, `after` (an earlier activity it waits for, -1 for none),
            `after_ns`, `gone`, `held_ns` (the earliest end, null for any), `span` (-1 outside the window), `recorded_in`.
        typical: Medians of the edges.
    """

    events: pl.DataFrame
    activities: pl.DataFrame
    typical: edges.Typical


def timeline(view: View) -> Timeline:
    """The graph of a view, of all its activities: what is not selected holds the device as well."""
    activities, events = _activities_and_events(view)
    waiting = edges.with_awaited_activity(activities, view.trace)
    typical = edges.AT_ONCE if view.is_host else edges.typical(waiting, events)
    every = waiting if view.is_host else stalls.with_inferred_waits(waiting, typical)
    bound = edges.with_edges(every, typical, begin_ns=int(events["start_ns"][0]))
    calls = edges.with_waits(events, bound, typical, is_host=view.is_host)
    first = bound.filter(pl.col("span") >= 0).group_by("span").agg(pl.col("node").min())
    whole = _with_states(calls, view.host).with_columns(
        kept=pl.col("node").is_in(first["node"].implode())
    )
    return Timeline(whole, _with_recorded(bound, whole, view), typical)


def _activities_and_events(view: View) -> tuple[pl.DataFrame, pl.DataFrame]:
    every = view.all_activities.join(view.selected.select("row", "span"), on="row", how="left")
    linked = every.filter(pl.col("launch").is_not_null())
    launches = linked.group_by("launch").agg(
        pl.col("thread").first(),
        start_ns=pl.col("launch_start_ns").first(),
        end_ns=pl.col("end_ns").max() if view.is_host else pl.col("launch_end_ns").first(),
    )
    events = _in_order(view, launches.rename({"launch": "row"}), every)
    numbered = every.join(events.select("node", launch="row"), on="launch", how="left").select(
        "row",
        "launch_start_ns",
        "launch_end_ns",
        "start_ns",
        "end_ns",
        pl.col("node").fill_null(0),
        pl.col("span").fill_null(-1),
        stream=pl.col("stream").rank("dense").cast(pl.Int64) - 1,
        dur_ns=pl.col("end_ns") - pl.col("start_ns"),
        gone=pl.lit(value=False),
        held_ns=pl.lit(None, pl.Int64),
        stream_id="stream",
        is_copy=pl.col("kind") == c.MEMCPY,
    )
    ordered = numbered.sort("node", "start_ns", "row").with_row_index("at")
    return ordered.with_columns(pl.col("at").cast(pl.Int64)), events


def _in_order(view: View, launches: pl.DataFrame, activities: pl.DataFrame) -> pl.DataFrame:
    """All calls that matter by start, with one before them that stands for the begin of the recording."""
    host = view.trace.host
    calls = view.host.waiting_calls
    waits = host.filter(
        pl.col("row").is_in(calls.implode())
        & ~pl.col("row").is_in(launches["row"].implode())
        & pl.col("thread").is_in(launches["thread"].implode())
    ).select("row", "thread", "start_ns", "end_ns", is_wait=pl.lit(value=True))
    found = pl.concat([launches.with_columns(is_wait=pl.lit(value=False)), waits], how="diagonal")
    starts = [s for s in (found["start_ns"].min(), activities["start_ns"].min()) if s is not None]
    begin = pl.DataFrame(
        {"row": None, "thread": None, "start_ns": min(starts, default=0), "is_wait": False},
        schema_overrides=found.schema,
    ).with_columns(end_ns="start_ns")
    ordered = pl.concat([begin.select(found.columns), found]).sort(
        "start_ns", "end_ns", maintain_order=True
    )
    overlaps = pl.col("start_ns") < pl.col("end_ns").shift(1)
    lead = pl.col("start_ns") - pl.col("start_ns").shift(1)
    return ordered.with_row_index("node").with_columns(
        pl.col("node").cast(pl.Int64),
        lead_ns=pl.when(overlaps).then(lead).otherwise(-1),
        since_ns=pl.col("end_ns").shift(1).fill_null(pl.col("start_ns")),
    )


def _with_states(events: pl.DataFrame, host: HostWork) -> pl.DataFrame:
    """Cut the host time before each call by the state of its thread."""
    cut = events.with_columns(since_ns=pl.min_horizontal("since_ns", "start_ns"))
    parts = [_states_of(part, thread, host) for (thread,), part in _by_thread(cut)]
    return pl.concat(parts).sort("node").drop("since_ns")


def _by_thread(events: pl.DataFrame) -> list[tuple[tuple[object, ...], pl.DataFrame]]:
    return list(events.partition_by("thread", as_dict=True).items())


def _states_of(events: pl.DataFrame, thread: object, host: HostWork) -> pl.DataFrame:
    before, columns = pl.Series([0], dtype=pl.Int64).new_from_index(0, len(events)), []
    for state, union in host.states(thread) if isinstance(thread, int) else ():
        until, since = (
            intervals.covered_before(union, events[edge]) for edge in ("start_ns", "since_ns")
        )
        columns.append((until - since - before).alias(state))
        before = until - since
    missing = [pl.lit(0, pl.Int64).alias(s) for s in STATES[len(columns) :]]
    total = events["start_ns"] - events["since_ns"]
    return events.with_columns(
        *columns,
        *missing,
        (total - before).alias("python"),
        recorded_before=_recorded(host, thread, events["since_ns"], events["start_ns"]),
        recorded_in=_recorded(host, thread, events["start_ns"], events["end_ns"]),
    )


def _recorded(host: HostWork, thread: object, since: pl.Series, until: pl.Series) -> pl.Series:
    """How many events the profiler recorded on a thread in each of some spans."""
    table = host.trace.host
    starts = table.filter(pl.col("thread") == (-1 if thread is None else thread))["start_ns"]
    counts = (starts.search_sorted(edge).cast(pl.Int64) for edge in (until, since))
    return next(counts) - next(counts)


def _with_recorded(activities: pl.DataFrame, events: pl.DataFrame, view: View) -> pl.DataFrame:
    """Add `recorded_in`: events recorded while the host itself ran an activity, of which there are none on a device."""
    inside = events["recorded_in"].gather(activities["node"]) if view.is_host else pl.lit(0)
    return activities.with_columns(recorded_in=inside)
