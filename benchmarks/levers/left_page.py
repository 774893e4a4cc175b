"""Where the time of each stack is left, by its recordings, as Markdown: what stands in the way of more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from benchmarks.diff_power import markdown
from benchmarks.levers.store import Case, Stacked
from mmprof.cli.renderers.safe import markdown_text
from mmprof.cli.renderers.verification.recordings import recordings
from mmprof.tracer.verify_results import step_names

if TYPE_CHECKING:
    from mmprof.cli.renderers.verification.verdict_table import VerdictTable
    from mmprof.tracer.verify_results import Verification


def left_section(stacks: Mapping[Case, Stacked], size: str) -> Iterator[str]:
    """A table for each search that found something, and what each of its steps changed; nothing without recordings."""
    found = {case: stacked.found for case, stacked in stacks.items() if stacked.found}
    parts = [part for case, each in found.items() for part in _of_one(case, each)]
    if parts:
        yield f"### Where the time is left, {markdown_text(size)}"
        yield (
            "One recorded request of the baseline and of each step of the stack; the profiler's own cost is in the times. "
            "Shares are of the request's window."
        )
        yield from parts


def _of_one(case: Case, found: Verification) -> Iterator[str]:
    kept = [rung for rung in found.ladder if rung.verdict == "verified"]
    for table in recordings(found, zip(step_names(kept), kept, strict=True)):
        yield f"**{markdown_text(case.name)}**"
        yield markdown([list(map(markdown_text, row)) for row in (table.columns, *table.rows)])
        yield from _remarks(table)


def _remarks(table: VerdictTable) -> Iterator[str]:
    if table.remarks:
        # a plus sign at the start would be another list
        told = (markdown_text(remark).replace("+", "&#43;", 1) for remark in table.remarks)
        yield "\n".join(f"- {text}" for text in told)
