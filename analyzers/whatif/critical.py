"""What of a recorded window no cause explains: the edges of the critical path that took longer than they usually do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.timeline import Timeline


def unexplained_ns(recorded: Timeline) -> int:
    """Time on the critical path of the recorded window beyond what its edges usually take.

    The path goes back from the last end, each time by what decided the start; where several did, by the one that explains most of
    it. What the host did between two calls is explained: its state is known.
    """
    window = recorded.activities.filter(pl.col("span") >= 0)
    if window.is_empty():
        return 0
    begin_ns = int(str(window["start_ns"].min()))
    causes = _causes(recorded)
    start_ns, cause, excess_ns = (causes[c].to_list() for c in ("start_ns", "cause", "excess_ns"))
    at, total_ns = int(window.sort("end_ns", "at")["at"][-1]), 0
    while at >= 0 and start_ns[at] > begin_ns:
        total_ns += excess_ns[at]
        at = cause[at]
    return total_ns


def _causes(recorded: Timeline) -> pl.DataFrame:
    """For each activity by `at`: start_ns; cause, the activity that decided it, -1 for none; excess_ns, 0 outside the window."""
    lag_ns, start = recorded.typical.lag_ns, pl.col("start_ns")
    edges = {
        "held_by": (pl.col("launched_ns") + pl.col("latency_ns"), pl.col("late_ns")),
        "before": (pl.col("before_ns") + pl.col("lag_ns"), pl.col("lag_ns") - lag_ns),
        "after": (pl.col("awaited_ns") + pl.col("after_ns"), pl.col("after_ns") - lag_ns),
    }
    excess = {name: pl.when(at == start).then(late.clip(0)) for name, (at, late) in edges.items()}
    least = pl.min_horizontal(*excess.values())
    cause = pl.coalesce(pl.when(late == least).then(name) for name, late in excess.items())
    return _placed(recorded).select(
        "start_ns",
        cause=cause.fill_null(-1),
        excess_ns=pl.when(pl.col("span") >= 0).then(least).fill_null(0),
    )


def _placed(recorded: Timeline) -> pl.DataFrame:
    """The activities with what may have decided each, and when it was done.

    That is `launched_ns`, `held_by` (what the host last waited for before the launch) and `late_ns` (what the launch took beyond
    the usual, with the return from that wait); `before`, the last on its stream; `awaited_ns`.
    """
    acts, end = recorded.activities, pl.col("end_ns")
    calls = _calls(recorded)[acts["node"]]
    last = end == end.cum_max()
    after = acts["after"].replace(-1, None)
    return acts.with_columns(
        calls,
        before=pl.when(last).then("at").forward_fill().shift(1).over("stream"),
        before_ns=end.cum_max().shift(1).over("stream"),
        awaited_ns=acts["end_ns"].gather(after),
    ).with_columns(
        late_ns=(pl.col("latency_ns") - pl.col("usual_latency_ns")).clip(0) + pl.col("returned_ns")
    )


def _calls(recorded: Timeline) -> pl.DataFrame:
    """For each call by `node`: launched_ns, held_by, and returned_ns, what the return from that wait took beyond the usual."""
    events = recorded.events
    awaited = recorded.activities["end_ns"].gather(events["waits_for"].replace(-1, None))
    held = awaited + events["return_ns"] == events["end_ns"]
    late = (pl.col("return_ns") - recorded.typical.return_ns).clip(0)
    before = [
        pl.when(held).then(value).forward_fill().shift(1).alias(name)
        for name, value in (("held_by", pl.col("waits_for")), ("returned_ns", late))
    ]
    return events.select("node", *before, launched_ns="start_ns").select(
        "held_by", "launched_ns", pl.col("returned_ns").fill_null(0)
    )
