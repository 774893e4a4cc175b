"""`mmprof optimize`: from a workload to a ladder of verified levers. Needs no torch in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.sidecar import sidecar_path
from mmprof.tracer.optimization.bench import ProcessBench
from mmprof.tracer.optimization.document import Ending, document
from mmprof.tracer.optimization.fingerprint import asked_for, fingerprint
from mmprof.tracer.optimization.forecast import Forecast, forecast
from mmprof.tracer.optimization.records import Begun, Compared, Concluded
from mmprof.tracer.optimization.search import EXACT, Found, OutOfTimeError, Search
from mmprof.tracer.optimization.sides import Question, Timetable
from mmprof.tracer.optimization.store import DEFAULT, Run, open_run
from mmprof.tracer.order import Progress, Subject, silent
from mmprof.tracer.verify_messages import Examine, Examined
from mmprof.tracer.verify_sides import Effort, Side, opened
from mmprof.tracer.verify_trial import TrialEndedError

if TYPE_CHECKING:
    from mmprof.tracer.lever import Lever
    from mmprof.tracer.verify_results import Verification

_INEXACT: Final = "its outputs are not equal up to rounding: --exact-only"


@dataclass(frozen=True, slots=True)
class Order:
    """What to optimize.

    Attributes:
        subject: The workload.
        levers: Levers that may be used, by the names that the user gave them.
        effort: How much one comparison may cost.
        budget_s: Seconds that all of it may take, about.
        exact_only: Whether outputs must be equal up to rounding.
        quality_budget: The largest relative error of lossy stacks; None for what their levers allow.
        store: Where measurements are kept.
        progress: Told what begins.
    """

    subject: Subject
    levers: Mapping[str, Lever]
    effort: Effort = field(default_factory=Effort)
    budget_s: float = 300.0
    exact_only: bool = False
    quality_budget: float | None = None
    store: Path = DEFAULT
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is known before anything is measured."""

    run: Run
    begun: Begun


@dataclass(frozen=True, slots=True)
class _Fit:
    """What levers said when they were asked whether they apply: reasons by name."""

    usable: dict[str, str] = field(default_factory=dict)
    inapplicable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        """Those that were asked."""
        return {*self.usable, *self.inapplicable, *self.failed}


def optimize(order: Order) -> Verification:
    """Search the stack of levers that makes a workload fastest, and verify it.

    Measurements are kept as they are made; those that still hold are not made again.

    Raises:
        MmprofError: The workload cannot be built or run without levers, or the budget ended before that was known.
    """
    with tempfile.TemporaryDirectory(prefix="mmprof-") as folder, _told_to_user(order):
        return _optimized(order, Path(folder))


@contextmanager
def _told_to_user(order: Order) -> Iterator[None]:
    """Turn the end of the baseline into an error."""
    try:
        yield
    except OutOfTimeError:
        raise _too_short(order) from None
    except TrialEndedError as ended:
        if ended.late:
            raise _too_short(order) from ended
        message = f"the workload failed without levers: {ended.reason}"
        raise ended.error or MmprofError(
            "MM-E060", message, hint="run it with `mmprof trace`"
        ) from ended


def _too_short(order: Order) -> MmprofError:
    return MmprofError(
        "MM-E063",
        "the budget of time ended before the baseline was measured",
        found=f"--budget {order.budget_s:g}s",
        hint="a longer --budget; what was measured is kept",
    )


def _optimized(order: Order, folder: Path) -> Verification:
    timetable = Timetable(order.budget_s)
    survey = _survey(order, timetable)
    usable, refused = _sorted_out(order, survey)
    question = Question(order.subject, usable, order.effort, order.quality_budget)
    bench = ProcessBench(question, survey.run, folder, timetable, order.progress)
    with closing(bench):
        found, oracle = _searched(question, bench)
        found.untried |= refused
        stacks = [(), *(step.stack for step in found.kept)]
        recorded = {stack: bench.recorded(stack) for stack in stacks}
    made = document(Ending(survey.begun, order.levers, bench, oracle, recorded, found))
    survey.run.append(Concluded(at=_now(), document=made))
    return made


def _survey(order: Order, timetable: Timetable) -> _Survey:
    """Build the workload once, to see what it is, which levers apply, and what a trace of it says."""
    fit = _Fit()
    order.progress("building the model")
    while True:
        with opened(order.subject, [], order.effort, deadline=timetable.deadline) as probe:
            _examine(order, probe, fit, timetable)
            if probe.process.alive:
                return _begin(order, probe, fit)


def _examine(order: Order, probe: Side, fit: _Fit, timetable: Timetable) -> None:
    """Ask levers whether they apply, as long as none of them ends the process."""
    for name in (n for n in order.levers if n not in fit.known):
        limit_s = timetable.limit_s(order.effort.limit_s)
        try:
            said = probe.process.ask(Examine([name]), Examined, limit_s=limit_s)
        except TrialEndedError as ended:
            if ended.late:
                raise
            (fit.inapplicable if ended.inapplicable else fit.failed)[name] = ended.reason
            if not probe.process.alive:
                return
        else:
            reason = said.inapplicable.get(name, "")
            (fit.inapplicable if reason else fit.usable)[name] = reason


def _begin(order: Order, probe: Side, fit: _Fit) -> _Survey:
    """Find what is known of the workload, and record it where that was not done yet."""
    code = probe.process.ask(Examine([]), Examined).code
    run = open_run(order.store, fingerprint(order.subject, order.effort, probe.ready, code))
    begun = _begun(order, probe, fit)
    run.append(begun)
    if not (run.trace.exists() and sidecar_path(run.trace).exists()):
        order.progress("recording the baseline")
        probe.record(run.trace)
    known = len(run.of(Compared))
    order.progress(f"reusing {known} comparisons of run {run.name}" if known else f"run {run.name}")
    return _Survey(run, begun)


def _begun(order: Order, probe: Side, fit: _Fit) -> Begun:
    ready = probe.ready
    return Begun(
        at=_now(),
        asked=asked_for(order.subject),
        workload={"name": ready.name, **ready.arguments},
        device=ready.device,
        device_name=ready.device_name,
        clock=ready.clock,
        threads=ready.threads,
        versions=ready.versions,
        inapplicable=fit.inapplicable,
        failed=fit.failed,
    )


def _sorted_out(order: Order, survey: _Survey) -> tuple[dict[str, Lever], dict[str, str]]:
    """The levers that may be tried, and why others that apply may not."""
    unfit = survey.begun.inapplicable.keys() | survey.begun.failed.keys()
    applicable = {n: lever for n, lever in order.levers.items() if n not in unfit}
    if not order.exact_only:
        return applicable, {}
    exact = {n: lever for n, lever in applicable.items() if lever.exactness in EXACT}
    return exact, {name: _INEXACT for name in applicable if name not in exact}


def _searched(question: Question, bench: ProcessBench) -> tuple[Found, Forecast]:
    oracle = forecast(bench.run.trace, question.levers)
    baseline = bench.baseline()
    if baseline.repeatable.ok:
        return Search(question.levers, bench, oracle).run(), oracle
    reason = (
        "the baseline's own outputs differ from run to run, so nothing can be compared with them"
    )
    return Found(untried=dict.fromkeys(question.levers, reason)), oracle


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
