"""MM105: the KV cache is copied as a whole to change a little of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Operators that write a new cache; index_copy_ and the like write only the new tokens into the old one.
_COPYING: Final = ("aten::cat", "aten::index_select", "aten::stack")


@finding("MM105", "copies of the whole KV cache", lever="static_kv_cache")
def kv_cache_copies(view: View) -> Match | None:
    """Each decoding step copies all keys and values so far: to append one token, or to follow the beams of a search.

    The copies grow with the context and are repeated in every layer. Appending by concatenation goes away with a static
    cache, which is allocated once and written in place; that also fixes the shapes, as CUDA graphs need. Where nothing needs
    fixed shapes, a cache with room behind it appends in place as well, and attention reads no more than there is. Reordering by
    beam can skip what all beams share (the cross-attention cache of an encoder-decoder model), or gather indices instead
    of moving the cache. A static cache makes reordering dearer, because its whole capacity is moved.
    """
    appended = view.activities.filter(
        pl.col("class") == "kv_cache_update",
        pl.col("operator_name").cast(pl.String).is_in(_COPYING),
    )
    reordered = view.activities.filter(pl.col("class") == "kv_cache_reorder")
    found = pl.concat([appended, reordered])
    if not significant(view, total(found, "own_ns")):
        return None
    mostly_reordered = total(reordered, "own_ns") > total(appended, "own_ns")
    # a CPU launches nothing, so that fixed shapes gain it nothing
    appending = "growing_kv_cache" if view.is_host else "static_kv_cache"
    lever = "cache_reorder" if mostly_reordered else appending
    title = _title(view, appended, reordered)
    return about_activities(view, found, title=title, lever=lever)


def _title(view: View, appended: pl.DataFrame, reordered: pl.DataFrame) -> str:
    parts = {"to append to it": appended, "to reorder it": reordered}
    said = [
        f"{share_words(view, total(part, 'own_ns'))} {purpose}, {format_count(part.height, 'copy', 'copies')}"
        for purpose, part in parts.items()
        if part.height
    ]
    return f"The KV cache is copied as a whole: {'; '.join(said)}"
