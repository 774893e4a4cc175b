"""The stacks that were found and their mean over the families, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from benchmarks.diff_power import markdown
from benchmarks.levers.figures import best, best_exact, mean_over_families, speedup_of
from benchmarks.levers.store import Case, Stacked
from mmprof.cli.renderers.safe import markdown_cell, markdown_text
from mmprof.cli.renderers.units import duration
from mmprof.cli.renderers.verification.tables import interval_text, speedup_text
from mmprof.cli.renderers.verification.verdict_table import NOTHING

if TYPE_CHECKING:
    from mmprof.tracer.verify_results import LeverResult, Rung, Verification
    from mmprof.tracer.verify_statistics import Speedup

    Singles = Mapping[Case, Mapping[str, LeverResult]]
    Choice = Callable[[Verification], Rung | None]

PAPER_FAMILIES: Final = ("llama", "chameleon", "seamless", "hstu")
PAPER_SPEEDUP: Final = 3.88
"""The headline of arXiv 2410.00215: the mean over its four families, on its own models and GPUs."""

_COLUMNS: Final = (
    "workload",
    "best exact stack",
    "speedup",
    "best stack within the budget of error",
    "speedup",
    "best lever alone",
    "comparisons: until the stack was known, all, the table",
    "time of the search",
)


def stacks_section(stacks: Mapping[Case, Stacked], singles: Singles, size: str) -> Iterator[str]:
    """A row for each search, then the means; nothing where nothing was searched."""
    if not stacks:
        return
    yield f"### Stacks, {markdown_text(size)}"
    found = {case: stacked.found for case, stacked in stacks.items() if stacked.found}
    rows = [_row(case, stacks[case], singles.get(case, {})) for case in found]
    yield markdown([_COLUMNS, *rows])
    yield from _means(found)


def _row(case: Case, stacked: Stacked, alone: Mapping[str, LeverResult]) -> list[str]:
    assert stacked.found is not None
    search = stacked.found.search
    assert search is not None
    unsure = "" if search.complete else " (the budget ended before every lever was tried)"
    return [
        markdown_text(case.name),
        *_rung(best_exact(stacked.found)),
        *_rung(best(stacked.found)),
        _best_alone(alone),
        f"{search.found_after}, {search.measured}, {sum(map(_compared, alone.values()))}",
        f"{duration(1e9 * stacked.wall_s)}{unsure}",
    ]


def _compared(result: LeverResult) -> bool:
    """Whether a lever was applied and looked at, as each comparison of a search is."""
    return result.verdict != "not applicable"


def _rung(rung: Rung | None) -> list[str]:
    if rung is None:
        return ["none", speedup_text(1.0)]
    shown = f"{_with_interval(speedup_of(rung))}{_synthetic([rung])}"
    return [", ".join(map(markdown_cell, rung.levers)), shown]


def _synthetic(rungs: Iterable[Rung | None]) -> str:
    """A mark where any of them depends on random weights: by a budget of error, or by guesses."""
    told = any(rung and (rung.exactness == "lossy" or _guesses(rung)) for rung in rungs)
    return " *synthetic*" if told else ""


def _guesses(rung: Rung) -> bool:
    return rung.output_check is not None and "acceptance" in rung.output_check.facts


def _with_interval(found: Speedup) -> str:
    return f"{speedup_text(found.median)} ({interval_text((found.low, found.high))})"


def _best_alone(alone: Mapping[str, LeverResult]) -> str:
    verified = [r for r in alone.values() if r.verdict == "verified" and r.speedup is not None]
    if not verified:
        return NOTHING
    top = max(verified, key=lambda result: result.speedup or 0.0)
    return f"{markdown_cell(top.lever)} {speedup_text(top.speedup)}"


def _means(found: Mapping[Case, Verification]) -> Iterator[str]:
    """The geometric means over the families of the paper, as far as there is a search of each."""
    ours = {case: each for case, each in found.items() if case.family in PAPER_FAMILIES}
    single = {case: each for case, each in ours.items() if not case.requests}
    if not single:
        return
    present = [name for name in PAPER_FAMILIES if any(case.family == name for case in single)]
    yield (
        f"Geometric mean over {len(present)} of the paper's {len(PAPER_FAMILIES)} families ({', '.join(present)}; a family with "
        "several tasks counts once, by their geometric mean; where nothing helped, as 1):"
    )
    counted = {case: each for case, each in ours.items() if case.family in present}
    several = " and ".join(markdown_text(case.name) for case in counted if case.requests)
    yield markdown(
        [
            ["what", "speedup"],
            *_both_means(single, "of one request at a time"),
            *(_both_means(counted, f"with {several} as a task, too") if several else ()),
            [
                "the paper's headline, on its own models and GPUs (arXiv 2410.00215)",
                f"{PAPER_SPEEDUP}x",
            ],
        ]
    )


def _both_means(found: Mapping[Case, Verification], what: str) -> Iterator[list[str]]:
    yield [f"best exact stacks, {what}", _mean(found, best_exact)]
    yield [f"best stacks within the budget of error, {what}", _mean(found, best)]


def _mean(found: Mapping[Case, Verification], choice: Choice) -> str:
    rungs = {case: choice(each) for case, each in found.items()}
    mean = mean_over_families((case.family, speedup_of(rung)) for case, rung in rungs.items())
    return f"{_with_interval(mean)}{_synthetic(rungs.values())}"
