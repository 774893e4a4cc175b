"""What a search found, as `mmprof.verification/1`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmprof.tracer.optimization.search import EXACT
from mmprof.tracer.optimization.stacks import count_stacks
from mmprof.tracer.verify_recording import changed_times
from mmprof.tracer.verify_results import (
    Baseline,
    ChangedTime,
    LeverResult,
    RecordedRequest,
    Rung,
    SearchFacts,
    Untried,
    Verdict,
    Verification,
)
from mmprof.tracer.verify_statistics import bootstrap_interval

if TYPE_CHECKING:
    from mmprof.tracer.lever import Lever
    from mmprof.tracer.optimization.bench import ProcessBench
    from mmprof.tracer.optimization.forecast import Forecast
    from mmprof.tracer.optimization.records import BaselineMeasured, Begun, Compared
    from mmprof.tracer.optimization.search import Found, Step
    from mmprof.tracer.optimization.stacks import Stack


@dataclass(frozen=True, slots=True)
class Ending:
    """What a search rests on, and what it found.

    Attributes:
        begun: What was run.
        levers: All levers that were considered, by name.
        bench: What measured them.
        oracle: What predicted them.
        recorded: Where the time of recorded requests went, by stack.
        found: What was found.
    """

    begun: Begun
    levers: Mapping[str, Lever]
    bench: ProcessBench
    oracle: Forecast
    recorded: Mapping[Stack, RecordedRequest | None]
    found: Found

    def ids(self, names: Sequence[str]) -> list[str]:
        """The ids of some levers."""
        return [self.levers[name].id for name in names]

    def idle_share(self, stack: Stack) -> float | None:
        """Of the recorded request of a stack; None where there is none."""
        seen = self.recorded.get(stack)
        return seen.idle_share if seen else None

    def changed(self, stack: Stack, on: Stack) -> list[ChangedTime]:
        """What the recorded requests of two stacks differ in."""
        return changed_times(self.recorded.get(on), self.recorded.get(stack))

    @property
    def base(self) -> BaselineMeasured:
        """The workload without levers."""
        return self.bench.baseline()


def document(ending: Ending) -> Verification:
    """What a search found, for programs and renderers."""
    begun, ladder = ending.begun, list(_ladder(ending))
    return Verification(
        workload=begun.workload,
        device=begun.device,
        device_name=begun.device_name,
        clock=begun.clock,
        threads=begun.threads,
        versions=begun.versions,
        baseline=_baseline(ending),
        levers=[*(_tried(step, ending) for step in ending.found.steps), *_unfit(ending)],
        ladder=ladder,
        search=_facts(ending, ladder),
    )


def _facts(ending: Ending, ladder: list[Rung]) -> SearchFacts:
    found, bench = ending.found, ending.bench
    return SearchFacts(
        conclusion=_conclusion(ending, ladder),
        confirmed=found.confirmation is not None if ladder else None,
        complete=found.complete,
        budget_s=bench.timetable.budget_s,
        spent_s=bench.timetable.spent_s(),
        measured=found.measured,
        found_after=found.found_after,
        reused=bench.reused,
        exhaustive=count_stacks(bench.question.levers),
        best_exact=next((r.levers for r in reversed(ladder) if r.exactness in EXACT), []),
        untried=[Untried(ending.levers[name].id, why) for name, why in found.untried.items()],
        run=bench.run.name,
    )


def _conclusion(ending: Ending, ladder: list[Rung]) -> str:
    found = ending.found
    if ladder:
        return f"{' + '.join(ladder[-1].levers)} is verified to make it faster"
    if not ending.base.repeatable.ok:
        return "nothing can be verified: the outputs of two baselines differ"
    if not found.complete:
        return "no lever was verified to make it faster before the budget of time ended"
    if not found.steps:
        return "nothing helps: no lever applies that may be used"
    return "nothing helps: no lever was verified to make it faster"


def _baseline(ending: Ending) -> Baseline:
    base = ending.base
    return Baseline(
        runs_s=base.runs_s,
        median_s=statistics.median(base.runs_s),
        interval_s=bootstrap_interval(base.runs_s, seed=0),
        peak_bytes=base.peak_bytes,
        deterministic=base.deterministic,
        noise=base.noise,
        idle_share=ending.idle_share(()),
        recorded=ending.recorded.get(()),
    )


def _tried(step: Step, ending: Ending) -> LeverResult:
    measured = step.measured
    speedup = measured.gain and measured.gain.widened(ending.base.noise)
    return LeverResult(
        lever=ending.levers[step.lever].id,
        on=ending.ids(step.on),
        verdict=step.verdict,
        exactness=ending.bench.question.combination(step.stack).exactness,
        reason=step.reason or measured.failure,
        speedup=speedup.median if speedup else None,
        interval=(speedup.low, speedup.high) if speedup else None,
        p_value=measured.p_value,
        pairs=len(measured.runs_s),
        runs_s=measured.runs_s,
        predicted=step.predicted,
        output_check=measured.check,
        setup_cost_s=measured.setup_cost_s,
        pays_back_after_calls=_pays_back(measured),
        peak_bytes=measured.peak_bytes,
        idle_share=ending.idle_share(step.stack),
        recorded=ending.recorded.get(step.stack),
        changed=ending.changed(step.stack, step.on),
    )


def _pays_back(measured: Compared) -> int | None:
    """Requests whose gain over the baseline makes up for the setup; None where they never do."""
    if not measured.runs_s or measured.setup_cost_s is None:
        return None
    gain_s = statistics.median(measured.baseline_s) - statistics.median(measured.runs_s)
    return math.ceil(measured.setup_cost_s / gain_s) if gain_s > 0 else None


def _unfit(ending: Ending) -> Iterator[LeverResult]:
    begun = ending.begun
    unfit: dict[Verdict, dict[str, str]] = {
        "failed": begun.failed,
        "not applicable": begun.inapplicable,
    }
    for verdict, reasons in unfit.items():
        for name, reason in reasons.items():
            lever = ending.levers[name]
            yield LeverResult(
                lever=lever.id, verdict=verdict, exactness=lever.exactness, reason=reason
            )


def _ladder(ending: Ending) -> Iterator[Rung]:
    """A rung for each lever that was kept; the last as it was confirmed, where it was."""
    found = ending.found
    for step in found.kept:
        last = step is found.kept[-1] and found.confirmation is not None
        yield _rung(step, found.confirmation if last else None, ending)


def _rung(step: Step, confirmed: Compared | None, ending: Ending) -> Rung:
    measured = confirmed or step.measured
    total = measured.total and measured.total.widened(ending.base.noise)
    return Rung(
        levers=ending.ids(step.stack),
        added=ending.levers[step.lever].id,
        verdict="verified",
        speedup=total.median if total else None,
        interval=(total.low, total.high) if total else None,
        predicted=ending.oracle.of(step.stack),
        idle_share=ending.idle_share(step.stack),
        recorded=ending.recorded.get(step.stack),
        changed=ending.changed(step.stack, step.on),
        peak_bytes=measured.peak_bytes,
        exactness=ending.bench.question.combination(step.stack).exactness,
        output_check=measured.check,
    )
