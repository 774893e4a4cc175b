"""Whether levers keep their promise: each is applied in a process of its own, and compared with the baseline.

The runs of both sides alternate, in flipped order, while both processes hold their state, so that what the machine does
meanwhile befalls both. Needs no torch in this process.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from mmprof.analyzers.analyze import analyze
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.lever import Lever
from mmprof.tracer.lever_registry import NONE
from mmprof.tracer.order import Progress, Subject, silent
from mmprof.tracer.verify_prediction import predictions
from mmprof.tracer.verify_results import (
    Baseline,
    LeverResult,
    OutputCheck,
    Rung,
    Verdict,
    Verification,
)
from mmprof.tracer.verify_sides import Combination, Effort, Side, alternated, opened, speedup
from mmprof.tracer.verify_statistics import (
    Speedup,
    bootstrap_interval,
    mann_whitney_p,
)
from mmprof.tracer.verify_trial import TrialEndedError

_REFERENCE: Final = "reference.pt"
_TRACE: Final = "trace.json"

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


@dataclass(frozen=True, slots=True)
class _Base:
    """The baseline, its reference and what two of it differ."""

    side: Side
    folder: Path
    deterministic: bool
    noise: float
    runs_s: list[float]


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
            name: _result(trials, base, Combination({name: lever}))
            for name, lever in trials.levers.items()
        }
        ladder = _ladder(trials, base, alone)
        peak = side.peak_bytes()
        idle = _idle_share(trials, side, base)
        said = predictions(folder / _TRACE, trials.levers.values()) if trials.idle else {}
    results = [
        msgspec.structs.replace(result, predicted=said.get(result.lever))
        for result in alone.values()
    ]
    return _document(base, results, ladder, peak=peak, idle=idle)


def _side(trials: Trials, names: Sequence[str]) -> AbstractContextManager[Side]:
    return opened(trials.subject, names, trials.effort)


def _base(trials: Trials, side: Side, folder: Path) -> _Base:
    """Keep the baseline's outputs, and see what two processes that run it differ."""
    deterministic = side.keep_reference(folder / _REFERENCE)
    trials.progress("comparing the baseline with itself")
    with _side(trials, []) as twin:
        pairs = _pairs(side, twin, trials.effort)
    return _Base(side, folder, deterministic, pairs.speedup.noise, pairs.baseline_s)


def _pairs(side: Side, other: Side, effort: Effort) -> _Pairs:
    """Run both in alternation until the speedup is known well enough."""
    one, two = alternated([side, other], effort)
    return _Pairs(one, two, speedup(one, two, effort))


def _result(trials: Trials, base: _Base, levers: Combination) -> LeverResult:
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


def _compared(trials: Trials, base: _Base, levers: Combination, side: Side) -> LeverResult:
    name = " + ".join(levers.ids)
    check = side.compare(base.folder / _REFERENCE, levers.exactness, levers.budget)
    trials.progress(f"measuring {name}")
    pairs = _pairs(base.side, side, trials.effort)
    gain = pairs.speedup.widened(base.noise)
    setup_s = max(0.0, side.overhead_s - base.side.overhead_s)
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
        levers = Combination({name: trials.levers[name] for name in names})
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


def _idle_share(trials: Trials, side: Side, base: _Base) -> float | None:
    """Record a request; the last that a process is asked for, because profilers leave traces. None where it cannot be."""
    if not trials.idle:
        return None
    trace = str(base.folder / _TRACE)
    try:
        side.profile(Path(trace))
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
