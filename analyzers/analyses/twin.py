"""How much of the work in graph replays has operators from a twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from mmprof.analyzers.registry import analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


class TwinAlignment(Struct, frozen=True):
    """What a twin says of the activities that graph launches ran.

    Attributes:
        graph_activities: Activities of graph launches.
        graph_time_ns: Sum of their durations.
        aligned_activities: Those whose operator and modules are a twin's.
        aligned_time_ns: Sum of their durations.
        aligned_share: Part of graph_time_ns that is aligned_time_ns.
    """

    graph_activities: int
    graph_time_ns: int
    aligned_activities: int
    aligned_time_ns: int
    aligned_share: float


class Twinned(Struct, frozen=True):
    """The twin's part in the results.

    Attributes:
        twin: What was aligned in the window; null without a twin.
    """

    twin: TwinAlignment | None


@analysis("device")
def twin(view: View) -> Twinned:
    """Count the activities of graph launches and those that are aligned."""
    if "replayed" not in view.activities.columns:
        return Twinned(None)
    replayed = view.activities.filter("replayed")
    aligned = replayed.filter(pl.col("around") != pl.col("launch"))
    graph_ns, aligned_ns = int(replayed["dur_ns"].sum()), int(aligned["dur_ns"].sum())
    share = aligned_ns / graph_ns if graph_ns else 0.0
    return Twinned(TwinAlignment(replayed.height, graph_ns, aligned.height, aligned_ns, share))
