"""Whether levers keep their promise: each is applied in a process of its own, and compared with the baseline.

The runs of both sides alternate, in flipped order, while both processes hold their state, so that what the machine does
meanwhile befalls both. Needs no torch in this process.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from mmprof.analyzers.analyze import analyze
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.lever import Exactness, Lever
from mmprof.tracer.lever_registry import NONE
from mmprof.tracer.order import Progress, Subject, silent
from mmprof.tracer.verify_messages import (
    Compare,
    Compared,
    FindPeak,
    KeepReference,
    Kept,
    Measure,
    Peak,
    Prepare,
    Prepared,
    Profile,
    Profiled,
    Timed,
)
from mmprof.tracer.verify_prediction import predictions
from mmprof.tracer.verify_results import (
    Baseline,
    LeverResult,
    OutputCheck,
    Rung,
    Verdict,
    Verification,
)
from mmprof.tracer.verify_statistics import (
    MIN_PAIRS,
    Speedup,
    bootstrap_interval,
    mann_whitney_p,
    speedup_of,
)
from mmprof.tracer.verify_trial import TrialEndedError, TrialProcess

_REFERENCE: Final = "reference.pt"
_TRACE: Final = "trace.json"

SAMPLE_S: Final = 0.02
"""A sample is as many requests as take about this long: the least that a clock and a cold cache do not matter for."""

_WEAKEST_LAST: Final[tuple[Exactness, ...]] = (
    "identical",
    "reassociation",
    "distribution",
    "lossy",
)
_NOT_TRIED: Final = frozenset({"failed", "not applicable", "outputs differ"})


@dataclass(frozen=True, slots=True)
class Effort:
    """How much measuring may cost.

    Attributes:
        precision: Half of the interval of a speedup, as a share of it, at which measuring ends.
        max_time_s: Seconds after which it ends anyway, for each comparison, once it has `MIN_PAIRS` pairs.
        limit_s: Seconds that any step of a trial may take: building, compiling, a request.
        threads: Threads of one operator; 0 for torch's default.
        seed: Seeds the bootstrap.
    """

    precision: float = 0.02
    max_time_s: float = 30.0
    limit_s: float = 600.0
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trials:
    """What to verify.

    Attributes:
        subject: The workload.
        levers: Levers by the name that the user gave them.
        effort: How much it may cost.
        idle: Whether to record a request of each side, to see how idle its device is, and what the baseline's predicts.
        progress: Told what begins.
    """

    subject: Subject
    levers: dict[str, Lever]
    effort: Effort = field(default_factory=Effort)
    idle: bool = True
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class _Side:
    """A process that is ready to run."""

    process: TrialProcess
    ready: Prepared

    @property
    def steady_s(self) -> float:
        return min(self.ready.warmup_s)

    @property
    def overhead_s(self) -> float:
        """What came before it ran steadily."""
        warmups = self.ready.warmup_s
        return self.ready.apply_s + sum(warmups) - len(warmups) * self.steady_s

    def seconds(self, calls: int) -> float:
        """Seconds of one request, as the mean of some."""
        return self.process.ask(Measure(calls), Timed).seconds / calls


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Runs of two sides in alternation."""

    baseline_s: list[float]
    other_s: list[float]
    speedup: Speedup


@dataclass(frozen=True, slots=True)
class _Base:
    """The baseline, its reference and what two of it differ."""

    side: _Side
    folder: Path
    deterministic: bool
    noise: float
    runs_s: list[float]


@dataclass(frozen=True, slots=True)
class _Combination:
    """Levers that are applied together."""

    levers: dict[str, Lever]

    @property
    def ids(self) -> list[str]:
        return [lever.id for lever in self.levers.values()]

    @property
    def exactness(self) -> Exactness:
        """The weakest promise."""
        found: list[Exactness] = [lever.exactness for lever in self.levers.values()]
        return max(found, key=_WEAKEST_LAST.index)

    @property
    def budget(self) -> float:
        return sum(lever.budget for lever in self.levers.values())


def verify(trials: Trials) -> Verification:
    """Apply levers to a workload, one after the other and cumulated, and compare each with the baseline.

    Raises:
        MmprofError: The workload cannot be built or run without levers.
    """
    with tempfile.TemporaryDirectory(prefix="mmprof-") as folder:
        try:
            return _verified(trials, Path(folder))
        except TrialEndedError as ended:
            message = f"the workload failed without levers: {ended.reason}"
            raise ended.error or MmprofError(
                "MM-E060", message, hint="run it with `mmprof trace`"
            ) from ended


def _verified(trials: Trials, folder: Path) -> Verification:
    trials.progress("building the baseline")
    with _side(trials, []) as side:
        base = _base(trials, side, folder)
        alone = {
            name: _result(trials, base, _Combination({name: lever}))
            for name, lever in trials.levers.items()
        }
        ladder = _ladder(trials, base, alone)
        peak = side.process.ask(FindPeak(), Peak).bytes
        idle = _idle_share(trials, side, base)
        said = predictions(folder / _TRACE, trials.levers.values()) if trials.idle else {}
    results = [
        msgspec.structs.replace(result, predicted=said.get(result.lever))
        for result in alone.values()
    ]
    return _document(base, results, ladder, peak=peak, idle=idle)


@contextmanager
def _side(trials: Trials, names: Sequence[str]) -> Iterator[_Side]:
    subject = trials.subject
    asked = Prepare(
        family=subject.family.name if subject.family else "",
        target=subject.target,
        folder=str(subject.folder) if subject.folder else "",
        wish=subject.wish,
        device=subject.device,
        levers=list(names),
        threads=trials.effort.threads,
    )
    with TrialProcess(trials.effort.limit_s) as process:
        yield _Side(process, process.ask(asked, Prepared))


def _base(trials: Trials, side: _Side, folder: Path) -> _Base:
    """Keep the baseline's outputs, and see what two processes that run it differ."""
    kept = side.process.ask(KeepReference(str(folder / _REFERENCE)), Kept)
    trials.progress("comparing the baseline with itself")
    with _side(trials, []) as twin:
        pairs = _pairs(side, twin, trials.effort)
    return _Base(side, folder, kept.deterministic, pairs.speedup.noise, pairs.baseline_s)


def _pairs(side: _Side, other: _Side, effort: Effort) -> _Pairs:
    """Run both in alternation until the speedup is known well enough."""
    calls = max(1, round(SAMPLE_S / min(side.steady_s, other.steady_s)))
    start = time.monotonic()
    one: list[float] = []
    two: list[float] = []
    while True:
        for first, second in ((one, two), (two, one)):
            for runs in (first, second):
                runs.append((side if runs is one else other).seconds(calls))
        speedup = speedup_of(one, two, seed=effort.seed)
        known = speedup.precision <= effort.precision
        late = time.monotonic() - start > effort.max_time_s
        if len(one) >= MIN_PAIRS and (known or late):
            return _Pairs(one, two, speedup)


def _result(trials: Trials, base: _Base, levers: _Combination) -> LeverResult:
    """What came of some levers."""
    name = " + ".join(levers.ids)
    trials.progress(f"applying {name}")
    try:
        with _side(trials, list(levers.levers)) as side:
            return _compared(trials, base, levers, side)
    except TrialEndedError as ended:
        return LeverResult(
            lever=name,
            verdict="not applicable" if ended.inapplicable else "failed",
            exactness=levers.exactness,
            reason=ended.reason,
        )


def _compared(trials: Trials, base: _Base, levers: _Combination, side: _Side) -> LeverResult:
    name = " + ".join(levers.ids)
    asked = Compare(str(base.folder / _REFERENCE), levers.exactness, levers.budget)
    check = side.process.ask(asked, Compared).check
    trials.progress(f"measuring {name}")
    pairs = _pairs(base.side, side, trials.effort)
    speedup = pairs.speedup.widened(base.noise)
    setup_s = max(0.0, side.overhead_s - base.side.overhead_s)
    gain_s = statistics.median(pairs.baseline_s) - statistics.median(pairs.other_s)
    return LeverResult(
        lever=name,
        verdict=verdict_of(speedup, check),
        exactness=levers.exactness,
        speedup=speedup.median,
        interval=(speedup.low, speedup.high),
        p_value=mann_whitney_p(pairs.baseline_s, pairs.other_s),
        pairs=len(pairs.other_s),
        runs_s=pairs.other_s,
        output_check=check,
        setup_cost_s=setup_s,
        pays_back_after_calls=math.ceil(setup_s / gain_s) if gain_s > 0 else None,
        peak_bytes=side.process.ask(FindPeak(), Peak).bytes,
        idle_share=_idle_share(trials, side, base),
    )


def verdict_of(speedup: Speedup, check: OutputCheck) -> Verdict:
    """What a speedup and a comparison of outputs say together."""
    if not check.ok:
        return "outputs differ"
    if speedup.low > 1:
        return "verified"
    return "slower" if speedup.high < 1 else "no gain"


def _ladder(trials: Trials, base: _Base, alone: dict[str, LeverResult]) -> list[Rung]:
    """The levers that can be applied, cumulated in their order."""
    usable = [
        name
        for name, result in alone.items()
        if result.verdict not in _NOT_TRIED and result.lever != NONE.id
    ]
    if len(usable) < 2:
        return []
    rungs = []
    for count in range(1, len(usable) + 1):
        names = usable[:count]
        levers = _Combination({name: trials.levers[name] for name in names})
        found = alone[names[0]] if count == 1 else _result(trials, base, levers)
        rungs.append(
            Rung(
                levers=levers.ids,
                verdict=found.verdict,
                reason=found.reason,
                speedup=found.speedup,
                interval=found.interval,
                idle_share=found.idle_share,
                exactness=found.exactness,
                output_check=found.output_check,
            )
        )
    return rungs


def _idle_share(trials: Trials, side: _Side, base: _Base) -> float | None:
    """Record a request; the last that a process is asked for, because profilers leave traces. None where it cannot be."""
    if not trials.idle:
        return None
    trace = str(base.folder / _TRACE)
    try:
        side.process.ask(Profile(trace), Profiled)
        return float(analyze([trace]).devices[0].value("idle_share"))
    except (TrialEndedError, MmprofError):
        return None


def _document(
    base: _Base,
    results: list[LeverResult],
    ladder: list[Rung],
    *,
    peak: int | None,
    idle: float | None,
) -> Verification:
    ready = base.side.ready
    return Verification(
        workload={"name": ready.name, **ready.arguments},
        device=ready.device,
        device_name=ready.device_name,
        clock=ready.clock,
        threads=ready.threads,
        versions=ready.versions,
        baseline=Baseline(
            runs_s=base.runs_s,
            median_s=statistics.median(base.runs_s),
            interval_s=bootstrap_interval(base.runs_s, seed=0),
            peak_bytes=peak,
            deterministic=base.deterministic,
            noise=base.noise,
            idle_share=idle,
        ),
        levers=results,
        ladder=ladder,
    )
