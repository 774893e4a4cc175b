"""MM111: code is compiled or graphs are captured inside the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.findings.evidence import about_idle, idle_parts, named, stretches, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.idle import CAUSES
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

_CAPTURE_BEGINS: Final = r"StreamBeginCapture"
_CAPTURE_ENDS: Final = r"StreamEndCapture|GraphInstantiate"


@finding("MM111", "compilation or graph capture in the window")
def recompilation(view: View) -> Match | None:
    """The host compiles code or records a CUDA graph while the device waits; neither belongs into a steady state.

    Either the recording includes the first calls, then warm up before it; or something changes from call to call, most
    often a shape, a cache length or a batch size, and makes torch.compile specialize again or the graph be recorded
    again. TORCH_LOGS=recompiles names the reason. Mark the dimension dynamic (torch._dynamo.mark_dynamic), pad to a few
    sizes, or fix the length of the cache.
    """
    gaps = _compiling(view)
    if not significant(view, total(gaps, "part_ns")):
        return None
    return about_idle(view, gaps, title=_title(view, gaps))


def _compiling(view: View) -> pl.DataFrame:
    """Gaps with the part of them in compilation or capture."""
    compiled = stretches(view, "compile").select("start_ns", "end_ns")
    spans = intervals.merge(pl.concat([compiled, _captures(view)]))
    during = intervals.covered_before(spans, view.gaps["end_ns"]) - intervals.covered_before(
        spans, view.gaps["start_ns"]
    )
    gaps = idle_parts(view.__class__.gaps.func(view), *CAUSES) if False else idle_parts(view, *CAUSES)
    return gaps


def _title(view: View, gaps: pl.DataFrame) -> str:
    return ""
