"""Waits that a trace does not record: a stream that stood still until another one came to an end.

Older traces have no event of a stream that waits for another, and none has one of a device that is full. In both cases
an activity that was launched long ago starts when an activity of another stream ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.edges import Typical

STALL_NS: Final = 50_000
"""About ten launches: what is shorter may be a late start, and near it some other stream ends anyhow."""

CLOSE_SHARE: Final = 0.05
CLOSE_NS: Final = 200_000
"""How near to the end of the other activity a start must lie: as a share of the time that the stream stood still, and at most. On
either side: a device that is full takes the next activity while the last blocks of the one before still run."""

HOLDING_SHARE: Final = 0.5
"""How much of that time an activity must have run to have held the device: some short one always ends nearby."""


def with_inferred_waits(activities: pl.DataFrame, known: Typical) -> pl.DataFrame:
    """Set `after` and `awaited_ns` of activities that started with the end of another stream's activity after standing still.

    Args:
        activities: By event and start, with `after` and `awaited_ns` as far as they were recorded.
        known: Medians of the trace.
    """
    if activities["stream"].n_unique() < 2:
        return activities
    ended = _ended_with(_stalled(activities, known), activities)
    joined = activities.join(ended, on="at", how="left", maintain_order="left")
    return joined.with_columns(
        after=pl.coalesce("ended", "after"), awaited_ns=pl.coalesce("ended_ns", "awaited_ns")
    ).drop("ended", "ended_ns")


def _stalled(activities: pl.DataFrame, known: Typical) -> pl.DataFrame:
    """What was free to start long before it did: at, stream, start_ns, and stall_ns, how long before."""
    before = pl.col("end_ns").cum_max().shift(1).over("stream")
    free = pl.max_horizontal(
        pl.col("launch_start_ns") + known.latency_ns,
        before + known.lag_ns,
        pl.col("awaited_ns") + known.lag_ns,
    )
    return activities.select(
        "at", "stream", "start_ns", "node", stall_ns=pl.col("start_ns") - free
    ).filter((pl.col("node") > 0) & (pl.col("stall_ns") >= STALL_NS))


def _ended_with(stalled: pl.DataFrame, activities: pl.DataFrame) -> pl.DataFrame:
    """For each stalled activity: `ended`, the activity of another stream whose end lies next to its start, and `ended_ns`.

    Two may be it: the last one that was launched before, which a stream is told to wait for, and the one that ended nearest,
    which held the device if it ran for most of the time.
    """
    ends = activities.select(ended="at", ended_ns="end_ns", ran_ns="dur_ns", other="stream")
    streams = ends.select(pl.col("other").unique())
    pairs = stalled.join(streams, how="cross").filter(pl.col("other") != pl.col("stream"))
    told = pairs.sort("at").join_asof(
        ends.with_columns(at="ended").sort("at"), on="at", by="other", check_sortedness=False
    )
    nearest = pairs.sort("start_ns").join_asof(
        ends.with_columns(start_ns="ended_ns").sort("start_ns"),
        on="start_ns",
        by="other",
        strategy="nearest",
        check_sortedness=False,
    )
    off_ns = (pl.col("ended_ns") - pl.col("start_ns")).abs()
    # the replay goes through the launches in their order, so that what ends must have been launched before
    close = (pl.col("ended") < pl.col("at")) & (
        off_ns <= (CLOSE_SHARE * pl.col("stall_ns")).clip(upper_bound=CLOSE_NS)
    )
    holding = nearest.filter(pl.col("ran_ns") >= HOLDING_SHARE * pl.col("stall_ns"))
    found = pl.concat([told, holding.select(told.columns)]).filter(close).sort(off_ns, "at")
    return found.unique("at", keep="first", maintain_order=True).select("at", "ended", "ended_ns")
