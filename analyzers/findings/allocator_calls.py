"""MM109: the driver allocates or frees memory while the device waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mmprof.analyzers.findings.evidence import (
    about_idle,
    idle_parts,
    idle_words,
    longest,
    stretches,
    total,
)
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


@finding("MM109", "allocator calls in the window", lever="allocator_settings")
def allocator_calls(view: View) -> Match | None:
    """The host asks the driver for memory, or returns it, while the device has nothing to do.

    PyTorch keeps freed memory for reuse, so after a warm-up there should be no such call. They come from a first step in
    the recording, from sizes that change from step to step and fragment the cache, from torch.cuda.empty_cache(), or
    from memory that is nearly full: freeing a block also waits for the device. Record after a warm-up; set
    PYTORCH_ALLOC_CONF=expandable_segments:True against fragmentation; do not empty the cache in the loop.
    """
    gaps = idle_parts(view, "allocator")
    if not significant(view, total(gaps, "part_ns")):
        return None
    return about_idle(view, gaps, title=_title(view, gaps))


def _title(view: View, gaps: pl.DataFrame) -> str:
    return (
        f"{idle_words(view, total(gaps, 'part_ns'))} while the host allocates or frees memory, at most {format_ns(longest(gaps))} at once: "
        f"{_calls(view)}"
    )


def _calls(view: View) -> str:
    rows = stretches(view, "allocator")["row"].drop_nulls()
    names = view.trace.host["name"][rows].cast(pl.String).value_counts(sort=True)
    return ", ".join(f"{format_count(count)} {name}" for name, count in names.head(3).iter_rows())
