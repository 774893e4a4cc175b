"""A search in sentences and tables of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.units import duration
from mmprof.cli.renderers.verification import tables as verification
from mmprof.cli.renderers.verification.recordings import recordings
from mmprof.cli.renderers.verification.tables import (
    bytes_text,
    check_text,
    idle_text,
    interval_text,
    plural,
    predicted_text,
    speedup_text,
)
from mmprof.cli.renderers.verification.verdict_table import NOTHING, VerdictTable
from mmprof.tracer.verify_results import step_names

if TYPE_CHECKING:
    from mmprof.tracer.verify_results import LeverResult, Rung, SearchFacts, Verification

_BASELINE: Final = "baseline"


def facts(found: Verification) -> Iterator[str]:
    """What was found, what it rests on, and what was run."""
    if found.search is not None:
        yield _headline(found, found.search)
        yield _effort(found.search)
    yield from verification.facts(found)
    if found.ladder and found.ladder[-1].exactness == "lossy" and "task" in found.workload:
        # The families have random weights: they show what a lossy lever gains, not what it costs.
        yield "random weights: what lossy levers gain is measured, what they cost in quality is not"


def _headline(found: Verification, search: SearchFacts) -> str:
    if not found.ladder:
        return f"{search.conclusion}."
    top = found.ladder[-1]
    sure = "" if search.confirmed else "; there was no time to confirm it in fresh processes"
    return (
        f"{' + '.join(top.levers)}: {speedup_text(top.speedup)} "
        f"({interval_text(top.interval)}), {top.exactness}, verified{sure}."
    )


def _effort(search: SearchFacts) -> str:
    reused = f", {search.reused:,} of them reused" if search.reused else ""
    known = f" (the stack was known after {search.found_after:,})" if search.found_after else ""
    ended = "" if search.complete else "; the budget ended before every lever was tried"
    return (
        f"{plural(search.measured, 'comparison')}{known}{reused}, of the {search.exhaustive:,} that all stacks would take, in "
        f"{duration(1e9 * search.spent_s)} of {duration(1e9 * search.budget_s)}{ended}; run {search.run}"
    )


def tables(found: Verification) -> list[VerdictTable]:
    """The ladder and what explains it, what was tried, and what was not."""
    rungs = list(zip(step_names(found.ladder), found.ladder, strict=True))
    shown = (_ladder(found), *recordings(found, rungs), _tried(found), _untried(found))
    return [table for table in shown if table.rows]


def _ladder(found: Verification) -> VerdictTable:
    base = found.baseline
    ground = (
        _BASELINE,
        NOTHING,
        speedup_text(1.0),
        *[NOTHING] * 2,
        idle_text(base.idle_share),
        bytes_text(base.peak_bytes),
    )
    return VerdictTable(
        "The ladder: cumulative, over the baseline",
        ("levers", "exactness", "speedup", "interval", "predicted", "idle", "peak"),
        [ground, *map(_rung, step_names(found.ladder), found.ladder)] if found.ladder else [],
        [_applied(rung) for rung in found.ladder[-1:] if len(rung.levers) > 1],
    )


def _rung(name: str, rung: Rung) -> tuple[str, ...]:
    return (
        name,
        rung.exactness,
        speedup_text(rung.speedup),
        interval_text(rung.interval),
        predicted_text(rung.predicted),
        idle_text(rung.idle_share),
        bytes_text(rung.peak_bytes),
    )


def _applied(rung: Rung) -> str:
    return f"applied in this order: {', '.join(rung.levers)}"


def _tried(found: Verification) -> VerdictTable:
    tried = [each for each in found.levers if each.verdict != "not applicable" or each.on]
    return VerdictTable(
        "Tried, each over what was kept before it",
        ("lever", "verdict", "speedup", "interval", "predicted", "setup", "peak"),
        [_result(each) for each in tried],
        [_remark(each) for each in tried],
    )


def _result(tried: LeverResult) -> tuple[str, ...]:
    setup = tried.setup_cost_s
    return (
        tried.lever,
        tried.verdict,
        speedup_text(tried.speedup),
        interval_text(tried.interval),
        predicted_text(tried.predicted),
        NOTHING if setup is None else duration(1e9 * setup),
        bytes_text(tried.peak_bytes),
    )


def _remark(tried: LeverResult) -> str:
    where = f" on {' + '.join(tried.on)}" if tried.on else ""
    detail = check_text(tried.output_check) if tried.output_check else ""
    return f"{tried.lever}{where}: {'; '.join(filter(None, (tried.reason, detail)))}"


def _untried(found: Verification) -> VerdictTable:
    skipped = [(u.lever, u.reason) for u in found.search.untried] if found.search else []
    unfit = [
        (e.lever, e.reason) for e in found.levers if e.verdict == "not applicable" and not e.on
    ]
    return VerdictTable("Not tried", ("lever", "why not"), [*skipped, *unfit], [])
