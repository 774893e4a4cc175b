"""Whether levers keep their promise: each is applied in a process of its own, and compared with the baseline.

The runs of both sides alternate, in flipped order, while both processes hold their state, so that what the machine does
meanwhile befalls both. Needs no torch in this process.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.lever import Lever
from mmprof.tracer.lever_registry import NONE
from mmprof.tracer.order import Progress, Subject, silent
from mmprof.tracer.verify_prediction import predictions
from mmprof.tracer.verify_recording import changed_times, recorded_request
from mmprof.tracer.verify_results import (
    Baseline,
    LeverResult,
    OutputCheck,
    Predicted,
    RecordedRequest,
    Rung,
    Verdict,
    Verification,
)
from mmprof.tracer.verify_sides import Combination, Effort, Side, alternated, opened, speedup
from mmprof.tracer.verify_statistics import (
    TWINS,
    Speedup,
    bootstrap_interval,
    mann_whitney_p,
    noise_of,
)
from mmprof.tracer.verify_trial import TrialEndedError

_REFERENCE: Final = "reference.pt"
_TRACE: Final = "trace.json"
_PREDICTED: Final = "baseline.json.gz"

_NOT_TRIED: Final = frozenset({"failed", "not applicable", "outputs differ"})


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
class _Pairs:
    """Runs of two sides in alternation."""

    baseline_s: list[float]
    other_s: list[float]
    speedup: Speedup


class _Base:
    """The workload without levers, in a process that is started again where something took it down.

    Args:
        trials: What to verify.
        folder: For files that end with it.
        life: Ends the process.

    Attributes:
        reference: Where its outputs are kept.
        ready: What it says of itself.
        overhead_s: What came before it ran steadily.
        deterministic: Whether two of its runs gave equal bits.
        peak_bytes: Most memory during a request.
        runs_s: Seconds of one request, beside other processes of it.
        noise: Factor by which two of them may differ.
        recorded: Where the time of a recorded request goes.
        predicted: What that recording says of the levers.
    """

    def __init__(self, trials: Trials, folder: Path, life: ExitStack) -> None:
        self._trials, self._life = trials, life
        self.reference = folder / _REFERENCE
        self._process = self._life.enter_context(_side(trials, []))
        self.ready = self._process.ready
        self.overhead_s = self._process.overhead_s
        self.deterministic = self._process.keep_reference(self.reference, trials.levers.values())
        self.peak_bytes = self._process.peak_bytes()
        self._compare_with_itself()

    @property
    def side(self) -> Side:
        """The process.

        Raises:
            TrialEndedError: It cannot be started again.
        """
        if not self._process.process.alive:
            self._process = self._life.enter_context(_side(self._trials, []))
        return self._process

    def _compare_with_itself(self) -> None:
        """See how far processes that run it differ; they are recorded when they are not needed any more."""
        self._trials.progress("comparing the baseline with itself")
        self.recorded: RecordedRequest | None = None
        self.predicted: dict[str, Predicted] = {}
        last_of_twins = (self._record, self._predict, lambda _: None)
        twins = [self._twin(last) for last in last_of_twins]
        self.runs_s = [seconds for twin in twins for seconds in twin.baseline_s]
        self.noise = noise_of([twin.speedup for twin in twins])

    def _twin(self, last: Callable[[Side], None]) -> _Pairs:
        """Compare it with another process of itself, and ask that for something last; the twins take as long as one lever."""
        effort = self._trials.effort
        with _side(self._trials, []) as twin:
            pairs = _pairs(
                self._process, twin, replace(effort, max_time_s=effort.max_time_s / TWINS)
            )
            last(twin)
        return pairs

    def _record(self, twin: Side) -> None:
        self.recorded = _recorded(self._trials, twin, self.reference.with_name(_TRACE))

    def _predict(self, twin: Side) -> None:
        """Record it once more with what the machine reaches, which predictions rest on."""
        levers = self._trials.levers.values()
        if not (self._trials.idle and any(lever.predict for lever in levers)):
            return
        self._trials.progress("recording the baseline")
        trace = self.reference.with_name(_PREDICTED)
        with suppress(TrialEndedError):
            twin.record(trace)
            self.predicted = predictions(trace, levers)


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
    with ExitStack() as life:
        base = _Base(trials, folder, life)
        alone = {
            name: _result(trials, base, Combination({name: lever}), base.recorded)
            for name, lever in trials.levers.items()
        }
        ladder = _ladder(trials, base, alone)
    results = [
        msgspec.structs.replace(result, predicted=base.predicted.get(result.lever))
        for result in alone.values()
    ]
    return _document(base, results, ladder)


def _side(trials: Trials, names: Sequence[str]) -> AbstractContextManager[Side]:
    return opened(trials.subject, names, trials.effort)


def _pairs(side: Side, other: Side, effort: Effort) -> _Pairs:
    """Run both in alternation until the speedup is known well enough."""
    one, two = alternated([side, other], effort)
    return _Pairs(one, two, speedup(one, two, effort))


def _result(
    trials: Trials, base: _Base, levers: Combination, before: RecordedRequest | None
) -> LeverResult:
    """What came of some levers, and what changed from a request that was recorded before."""
    name = " + ".join(levers.ids)
    trials.progress(f"applying {name}")
    try:
        with _side(trials, list(levers.levers)) as side:
            found = _compared(trials, base, levers, side)
            recorded = _recorded(trials, side, base.reference.with_name(_TRACE))
    except TrialEndedError as ended:
        return LeverResult(
            lever=name,
            verdict="not applicable" if ended.inapplicable else "failed",
            exactness=levers.exactness,
            reason=ended.reason,
        )
    return msgspec.structs.replace(
        found,
        idle_share=recorded.idle_share if recorded else None,
        recorded=recorded,
        changed=changed_times(before, recorded),
    )


def _compared(trials: Trials, base: _Base, levers: Combination, side: Side) -> LeverResult:
    name = " + ".join(levers.ids)
    check = side.compare(base.reference, levers.exactness, levers.budget)
    trials.progress(f"measuring {name}")
    pairs = _pairs(base.side, side, trials.effort)
    gain = pairs.speedup.widened(base.noise)
    setup_s = max(0.0, side.overhead_s - base.overhead_s)
    gain_s = statistics.median(pairs.baseline_s) - statistics.median(pairs.other_s)
    return LeverResult(
        lever=name,
        verdict=verdict_of(gain, check),
        exactness=levers.exactness,
        speedup=gain.median,
        interval=(gain.low, gain.high),
        p_value=mann_whitney_p(pairs.baseline_s, pairs.other_s),
        pairs=len(pairs.other_s),
        runs_s=pairs.other_s,
        output_check=check,
        setup_cost_s=setup_s,
        pays_back_after_calls=math.ceil(setup_s / gain_s) if gain_s > 0 else None,
        peak_bytes=side.peak_bytes(),
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
    rungs: list[Rung] = []
    for count in range(1, len(usable) + 1):
        names = usable[:count]
        levers = Combination({name: trials.levers[name] for name in names})
        below = rungs[-1].recorded if rungs else base.recorded
        found = alone[names[0]] if count == 1 else _result(trials, base, levers, below)
        rungs.append(_rung(levers, found))
    return rungs


def _rung(levers: Combination, found: LeverResult) -> Rung:
    return Rung(
        levers=levers.ids,
        verdict=found.verdict,
        reason=found.reason,
        speedup=found.speedup,
        interval=found.interval,
        idle_share=found.idle_share,
        exactness=found.exactness,
        output_check=found.output_check,
        recorded=found.recorded,
        changed=found.changed,
    )


def _recorded(trials: Trials, side: Side, trace: Path) -> RecordedRequest | None:
    """Record a request; the last that a process is asked for, because profilers leave traces. None where it cannot be."""
    if not trials.idle:
        return None
    try:
        side.profile(trace)
    except TrialEndedError:
        return None
    return recorded_request(trace)


def _document(base: _Base, results: list[LeverResult], ladder: list[Rung]) -> Verification:
    ready = base.ready
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
            peak_bytes=base.peak_bytes,
            deterministic=base.deterministic,
            noise=base.noise,
            idle_share=base.recorded.idle_share if base.recorded else None,
            recorded=base.recorded,
        ),
        levers=results,
        ladder=ladder,
    )
