"""MM114: communication that no computation hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


@finding("MM114", "exposed communication")
def exposed_communication(view: View) -> Match | None:
    """Collectives run while no computation does: the device communicates, or waits for slower ranks, and does nothing else.

    A collective lasts until the last rank has arrived, so part of this can be imbalance between ranks: compare their
    traces. Start collectives as soon as their data is ready and compute in the meantime (bucketed gradients, prefetched
    parameters, a stream of its own), send less (16-bit gradients, fewer and larger messages), or shard the model so that
    less has to cross the network.
    """
    found = view.activities.filter(pl.col("class") == "communication")
    if not significant(view, total(found, "own_ns")):
        return None
    exposed = found.filter(pl.col("own_ns") > 0)
    return about_activities(view, exposed, title=_title(view, found))


def _title(view: View, found: pl.DataFrame) -> str:
    return (
        f"Communication is exposed for {share_words(view, total(found, 'own_ns'))}, of "
        f"{format_ns(total(found, 'dur_ns'))} in {format_count(found.height, 'collective kernel')}"
    )
