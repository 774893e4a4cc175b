"""The measurements as Markdown, for docs/levers.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.diff_power import markdown
from benchmarks.levers.accuracy_page import accuracy_section
from benchmarks.levers.figures import Checked
from benchmarks.levers.left_page import left_section
from benchmarks.levers.stacks_page import stacks_section
from benchmarks.levers.store import Case, Foreseen, Machine, Measured, Stacked, Store, Surveyed
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text
from mmprof.cli.renderers.units import bytes_, duration, share
from mmprof.cli.renderers.verification.tables import (
    bytes_text,
    interval_text,
    plural,
    speedup_text,
)
from mmprof.cli.renderers.verification.verdict_table import NOTHING
from mmprof.tracer.verify_statistics import Speedup

if TYPE_CHECKING:
    from mmprof.tracer.verify_results import LeverResult, OutputCheck, Predicted

EMPTY: Final = "Nothing is measured yet: `python -m benchmarks.levers run` does it."

_COLUMNS: Final = (
    "lever",
    "speedup",
    "95 % interval",
    "predicted: low, expected, high",
    "outputs",
    "peak memory",
    "setup",
    "verdict",
)
_ORDER: Final = ("verified", "no gain", "slower", "outputs differ", "failed")
_CLOCKS: Final = {"cpu": "CPU time", "wall": "wall time"}
_REASON_COLUMNS: Final = 220


@dataclass(frozen=True, slots=True)
class Chapter:
    """What is known of one size on one machine: the newest of each.

    Attributes:
        size: The size.
        machine: Its name.
        surveys: By request.
        measured: By request, then by lever.
        stacks: By request.
    """

    size: str
    machine: str
    surveys: dict[Case, Surveyed]
    measured: dict[Case, dict[str, Measured]]
    stacks: dict[Case, Stacked]

    def foreseen(self, case: Case, lever: str) -> Foreseen:
        """What was known of a lever before; nothing where nothing was asked."""
        survey = self.surveys.get(case)
        return survey.foreseen.get(lever, Foreseen()) if survey else Foreseen()


def page(store: Store) -> str:
    """All tables; a sentence where there is nothing to show."""
    found = chapters(store)
    return "\n\n".join(block for each in found for block in _blocks(each)) if found else EMPTY


def chapters(store: Store) -> list[Chapter]:
    """The records, by size and machine, in the order of the first survey of each."""
    found: dict[tuple[str, str], Chapter] = {}

    def of(case: Case, machine: str) -> Chapter:
        key = (case.size, machine)
        return found.setdefault(key, Chapter(*key, {}, defaultdict(dict), {}))

    for survey in store.of(Surveyed):
        of(survey.setting.case, survey.machine.name).surveys[survey.setting.case] = survey
    for each in store.of(Measured):
        chapter = of(each.setting.case, each.machine.name)
        chapter.measured[each.setting.case][each.result.lever] = each
    for stacked in store.of(Stacked):
        if stacked.found is not None:
            chapter = of(stacked.setting.case, stacked.found.device_name)
            chapter.stacks[stacked.setting.case] = stacked
    return list(found.values())


def _blocks(chapter: Chapter) -> Iterator[str]:
    yield f"## Size {markdown_text(chapter.size)}, {markdown_text(chapter.machine)}"
    yield "\n".join(f"- {line}" for line in _facts(chapter))
    for case, survey in chapter.surveys.items():
        yield f"### {markdown_text(case.name)}, {markdown_text(chapter.size)}"
        yield from _case(chapter, case, survey)
    yield from accuracy_section(list(_checked(chapter)), chapter.size)
    singles = {
        case: {name: m.result for name, m in some.items()}
        for case, some in chapter.measured.items()
    }
    yield from stacks_section(chapter.stacks, singles, chapter.size)
    yield from left_section(chapter.stacks, chapter.size)


def _facts(chapter: Chapter) -> Iterator[str]:
    """On what, when, and how it was measured."""
    measured = [each for some in chapter.measured.values() for each in some.values()]
    dates = sorted([s.at[:10] for s in chapter.surveys.values()] + [m.at[:10] for m in measured])
    machines = list({_machine(s.machine): None for s in chapter.surveys.values()})
    if dates:
        yield (
            f"Measured from {dates[0]} to {dates[-1]}: {plural(len(measured), 'comparison')} in "
            + (f"{duration(1e9 * sum(m.took_s for m in measured))}.")
        )
    yield from machines
    yield (
        "Weights are random. Speedups marked *synthetic* depend on them: how many guesses are right, for levers that draft "
        "tokens. So do errors and agreement of lossy levers, and with them whether they count as verified."
    )


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    threads = plural(machine.threads, "thread")
    return markdown_text(f"{_CLOCKS[machine.clock]}, {threads} an operator; {versions}.")


def _case(chapter: Chapter, case: Case, survey: Surveyed) -> Iterator[str]:
    """One request: its baseline, its levers, and what could not be measured."""
    yield _baseline(survey)
    found = sorted((m for m in chapter.measured[case].values()), key=_rank)
    shown = [m for m in found if m.result.verdict != "not applicable"]
    if shown:
        rows = [_row(m, chapter.foreseen(case, m.result.lever)) for m in shown]
        yield markdown([_COLUMNS, *rows])
    remarks = list(_remarks(shown))
    if remarks:
        yield "\n".join(remarks)
    yield from _left_out(survey, found)
    yield from _unpredicted(survey, shown)


def _baseline(survey: Surveyed) -> str:
    base = survey.baseline
    told = [
        f"Baseline: {duration(1e9 * _median(base.runs_s))} a request",
        f"peak memory {bytes_text(base.peak_bytes)}",
        f"equal processes may differ by {share(base.noise - 1)}, which the intervals allow for",
        "" if base.deterministic else "two of its runs differ",
    ]
    return "; ".join(filter(None, told)) + "."


def _median(runs_s: Sequence[float]) -> float:
    ordered = sorted(runs_s)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _rank(measured: Measured) -> tuple[int, float]:
    result = measured.result
    known = _ORDER.index(result.verdict) if result.verdict in _ORDER else len(_ORDER)
    return known, -(result.speedup or 0.0)


def _row(measured: Measured, foreseen: Foreseen) -> list[str]:
    result = measured.result
    return [
        markdown_cell(result.lever),
        _speedup(result),
        interval_text(result.interval),
        _predicted(foreseen.predicted),
        _outputs(result),
        _memory(measured.baseline_peak_bytes, result.peak_bytes),
        NOTHING if result.setup_cost_s is None else duration(1e9 * result.setup_cost_s),
        f"{result.verdict} (no answer in time)" if measured.timed_out else result.verdict,
    ]


def _speedup(result: LeverResult) -> str:
    guesses = result.output_check is not None and "acceptance" in result.output_check.facts
    return speedup_text(result.speedup) + (" *synthetic*" if guesses else "")


def _predicted(said: Predicted | None) -> str:
    return NOTHING if said is None else f"{said.low:.2f}, {said.expected:.2f}, {said.high:.2f}"


def _outputs(result: LeverResult) -> str:
    """What the lever promises, and what was seen."""
    check = result.output_check
    seen = ", ".join(_seen(check)) if check else ""
    synthetic = " *synthetic*" if check and result.exactness == "lossy" else ""
    return f"{result.exactness}{': ' if seen else ''}{seen}{synthetic}"


def _seen(check: OutputCheck) -> Iterator[str]:
    if check.relative_error is not None:
        yield f"error {check.relative_error:.2g}"
    if check.agreement is not None:
        yield f"agreement {share(check.agreement)}"


def _memory(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return bytes_text(after)
    return f"{bytes_(before)} to {bytes_(after)}"


def _remarks(shown: Iterable[Measured]) -> Iterator[str]:
    """Why something failed or differs, a line each."""
    for result in (m.result for m in shown):
        check = result.output_check
        why = result.reason or (check.detail if check and not check.ok else "")
        if why:
            yield f"- {markdown_cell(result.lever)}: {markdown_text(label(why, _REASON_COLUMNS))}"


def _left_out(survey: Surveyed, found: Sequence[Measured]) -> Iterator[str]:
    """Levers that do not apply, by reason; levers that were not measured."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, known in survey.foreseen.items():
        if known.inapplicable:
            reasons[known.inapplicable].append(name)
    for result in (m.result for m in found if m.result.verdict == "not applicable"):
        reasons[result.reason].append(result.lever)
    if reasons:
        yield f"Not applicable: {_by_reason(reasons)}."
    tried = {m.result.lever for m in found}
    rest = [n for n, known in survey.foreseen.items() if n not in tried and not known.inapplicable]
    if rest:
        yield f"Not measured: {_names(rest)}."


def _unpredicted(survey: Surveyed, shown: Sequence[Measured]) -> Iterator[str]:
    """Levers that were measured and of which nothing was predicted, by reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name in (m.result.lever for m in shown):
        why = survey.foreseen.get(name, Foreseen()).unpredicted
        if why:
            reasons[why].append(name)
    if reasons:
        yield f"Not predicted: {_by_reason(reasons)}."


def _by_reason(reasons: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(f"{_names(names)} ({markdown_text(why)})" for why, names in reasons.items())


def _names(levers: Iterable[str]) -> str:
    return ", ".join(map(markdown_cell, levers))


def _checked(chapter: Chapter) -> Iterator[Checked]:
    """Predictions of levers whose speedup was measured."""
    for case, some in chapter.measured.items():
        for name, measured in some.items():
            result, predicted = measured.result, chapter.foreseen(case, name).predicted
            if predicted and result.speedup is not None and result.interval is not None:
                speedup = Speedup(result.speedup, *result.interval)
                yield Checked(case.name, name, predicted, speedup)
