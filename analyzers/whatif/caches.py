"""What a better key-value cache gains: no copy to append to it, none of what beams share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.thresholds import SHORT_NS
from mmprof.analyzers.units import format_count, format_ns, format_share
from mmprof.analyzers.whatif.changes import Removed, Shortened
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay

_APPENDING: Final = ("aten::cat", "aten::stack")

_LEFT_ON_CPU: Final = 0.5
"""Of a copy on a CPU, what is expected to stay: it also brings the cache to the core, and attention then waits for memory instead. 0.3 to
0.5 stayed in a loop of products, copies and attention over 180 tokens on one CPU; all of it in a Llama that gained nothing."""


def static_cache(replay: Replay) -> Predicted:
    """Predict a cache that is written in place: appending copies one token, not all."""
    return _written_in_place(replay, "attention now reads the whole capacity")


def growing_cache(replay: Replay) -> Predicted:
    """Predict a cache with room behind it: the same writes, and attention reads no more than before."""
    return _written_in_place(
        replay, "short copies within the processor's caches are as fast as the writes"
    )


def _written_in_place(replay: Replay, why_nothing: str) -> Predicted:
    found = _of_class(replay, "kv_cache_update").filter(
        pl.col("operator_name").cast(pl.String).is_in(_APPENDING)
    )
    if found.is_empty():
        return None, "no copy appends to a key-value cache"
    shortest = min(SHORT_NS, int(str(found["dur_ns"].min())))
    in_place = Shortened(found.select("row", left_ns=_left(replay, shortest)))
    case = Case(low=[], expected=[in_place], high=[Removed(found["row"])])
    stays = ", but half of their time stays, in which attention now reads the cache from memory"
    said = [
        f"{format_count(found.height, 'copy', 'copies')} of the whole cache become writes of the new token, as short as the "
        f"shortest of them{stays * replay.view.is_host}; high: they cost nothing",
        f"low: nothing is gained, because {why_nothing}",
    ]
    return predicted(replay, case, rows=found["row"], assumptions=said)


def _left(replay: Replay, shortest_ns: int) -> pl.Expr:
    """What stays of a copy, in ns."""
    if not replay.view.is_host:
        return pl.lit(shortest_ns)
    halved = (pl.col("dur_ns") * _LEFT_ON_CPU).cast(pl.Int64)
    return pl.max_horizontal(halved, pl.lit(shortest_ns))


def rounded_cache(replay: Replay) -> Predicted:
    """Say what a cache in int8 costs: it takes less memory, and is restored in full at each step."""
    found = _of_class(replay, "kv_cache_update")
    if found.is_empty():
        return None, "no key-value cache is written in this window"
    copied_ns = int(found["dur_ns"].sum())
    return None, (
        "it saves memory, not time: each step restores the whole cache before attention reads it, which takes as long again as the "
        f"copies that append to it: {format_ns(copied_ns)} ({format_share(copied_ns, replay.window_ns)} of the window)"
    )


def shared_by_beams(replay: Replay) -> Predicted:
    """Predict a beam search that leaves in place what all beams share: the copies whose extents do not grow."""
    found = _of_class(replay, "kv_cache_reorder")
    if found.is_empty():
        return None, "no key-value cache is reordered"
    shared = _not_growing(found)
    half = shared.head(shared.height // 2)
    case = Case(
        low=[Removed(half["row"])], expected=[Removed(shared["row"])], high=[Removed(found["row"])]
    )
    said = [
        f"{format_count(shared.height, 'copy', 'copies')} of {found.height} move a cache that does not grow, which is that of "
        "the cross-attention and the same for all beams; low: half of them are, high: none is needed",
    ]
    return predicted(replay, case, rows=found["row"], assumptions=said)


def _of_class(replay: Replay, name: str) -> pl.DataFrame:
    return replay.view.activities.filter(pl.col("class") == name)


def _not_growing(found: pl.DataFrame) -> pl.DataFrame:
    """The copies with the arguments that occur most, where they differ: a cache that grows has others at each step."""
    counts = found.group_by("call").agg(pl.len()).sort("len", "call", descending=[True, False])
    if counts.height < 2 or found["call"].null_count():
        return found.head(found.height // 2)
    return found.filter(pl.col("call") == counts["call"][0])
