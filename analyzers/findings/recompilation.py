"""MM111: code is compiled or graphs are captured inside the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.findings.evidence import (
    about_idle,
    graph_captures,
    idle_during,
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


@finding("MM111", "compilation or graph capture in the window")
def recompilation(view: View) -> Match | None:
    """The host compiles code or records a CUDA graph while the device waits; neither belongs into a steady state.

    Either the recording includes the first calls, then warm up before it; or something changes from call to call, most
    often a shape, a cache length or a batch size, and makes torch.compile specialize again or the graph be recorded
    again. TORCH_LOGS=recompiles names the reason. Mark the dimension dynamic (torch._dynamo.mark_dynamic), pad to a few
    sizes, or fix the length of the cache.
    """
    captures = graph_captures(view)
    gaps = _idle_in(view, captures) if captures.height else idle_parts(view, "compile")
    if not significant(view, total(gaps, "part_ns")):
        return None
    return about_idle(view, gaps, title=_title(view, gaps, captures))


def _idle_in(view: View, captures: pl.DataFrame) -> pl.DataFrame:
    """Gaps with their part in a capture or a compilation, one inside the other counted once."""
    compilations = stretches(view, "compile").select("start_ns", "end_ns")
    return idle_during(view, intervals.merge(pl.concat([compilations, captures])))


def _title(view: View, gaps: pl.DataFrame, captures: pl.DataFrame) -> str:
    seen = f"; {format_count(captures.height, 'graph capture')}" if captures.height else ""
    return (
        f"{idle_words(view, total(gaps, 'part_ns'))} while the host compiles code or captures graphs, "
        f"at most {format_ns(longest(gaps))} at once{seen}"
    )
