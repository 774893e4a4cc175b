"""Measures levers alone: workloads take turns, and the levers likeliest to pay come first."""

from __future__ import annotations

import math
import re
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.levers.store import (
    Case,
    Foreseen,
    Machine,
    Measured,
    Setting,
    Store,
    Surveyed,
    now,
)
from mmprof.tracer.families import families
from mmprof.tracer.optimization.bench import ProcessBench
from mmprof.tracer.optimization.forecast import forecast
from mmprof.tracer.optimization.records import Compared
from mmprof.tracer.optimization.search import WORTHWHILE, OutOfTimeError
from mmprof.tracer.optimization.sides import Question, Timetable
from mmprof.tracer.optimization.store import Run
from mmprof.tracer.order import Subject, Wish
from mmprof.tracer.verify import verdict_of
from mmprof.tracer.verify_messages import Examine, Examined
from mmprof.tracer.verify_results import LeverResult
from mmprof.tracer.verify_sides import opened
from mmprof.tracer.verify_trial import TrialEndedError

if TYPE_CHECKING:
    from mmprof.tracer.lever import Lever

A_TURN: Final = 4
"""Levers of one workload that share a process of its baseline, before the next workload has its turn."""

_FOLDERS: Final = re.compile(r"(?:/[^\s/:'\"()]+)+/(?=[^\s/])")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        settings: Workloads, the first ones first.
        known: All levers, by id.
        chosen: Ids of those to measure.
        deadline: The instant of the monotonic clock by which all must have ended.
        again: Ids of levers to measure although they were.
        predict_again: Whether to record and predict although that was done.
    """

    settings: Sequence[Setting]
    known: Mapping[str, Lever]
    chosen: Sequence[str]
    deadline: float = math.inf
    again: frozenset[str] = frozenset()
    predict_again: bool = False


@dataclass(slots=True)
class Session:
    """One run of the benchmark.

    Attributes:
        plan: What to measure.
        store: Where it is kept.
        done: What this run measured.
        surveyed: What this run surveyed.
    """

    plan: Plan
    store: Store
    done: set[tuple[Case, str]] = field(default_factory=set)
    surveyed: set[Case] = field(default_factory=set)

    def run(self) -> bool:
        """Measure all that is not known; whether all of it was before the deadline."""
        waiting = deque(self.plan.settings)
        try:
            while waiting:
                setting = waiting.popleft()
                if self._turn(setting):
                    waiting.append(setting)
        except OutOfTimeError:
            return False
        return True

    def pending(self, setting: Setting) -> list[str]:
        """Levers that have to be measured, the likeliest to pay first; all that were chosen where nothing is known."""
        survey = self.store.survey(setting)
        foreseen = survey.foreseen if survey else {}
        known = self.store.levers(setting) - self.plan.again
        left = [
            name
            for name in self.plan.chosen
            if name not in known
            and (setting.case, name) not in self.done
            and not foreseen.get(name, Foreseen()).inapplicable
        ]
        return sorted(left, key=lambda name: hope(foreseen.get(name, Foreseen())))

    def _turn(self, setting: Setting) -> bool:
        """Measure some levers of a workload; whether there are more."""
        if time.monotonic() >= self.plan.deadline:
            raise OutOfTimeError
        try:
            if self._is_unknown(setting):
                self._survey(setting)
            names = self.pending(setting)
            if names:
                self._measure(setting, names[:A_TURN])
        except TrialEndedError as ended:
            if ended.late:
                raise OutOfTimeError from ended
            say(f"{setting.case.name} failed without levers: {readable(ended.reason)}")
            return False
        return bool(names[A_TURN:])

    def _is_unknown(self, setting: Setting) -> bool:
        survey = self.store.survey(setting)
        if survey is None or not self.plan.known.keys() <= survey.foreseen.keys():
            return True
        return self.plan.predict_again and setting.case not in self.surveyed

    def _survey(self, setting: Setting) -> None:
        say(f"{setting.case.name}: building, recording, comparing the baseline with itself")
        subject = subject_of(setting)
        with self._bench(setting) as bench:
            with opened(subject, [], setting.effort, deadline=lambda: self.plan.deadline) as probe:
                examined = probe.process.ask(Examine(list(self.plan.known)), Examined)
                trace = bench.folder / "baseline.json.gz"
                probe.record(trace)
            ready = probe.ready
            self.store.append(
                Surveyed(
                    setting=setting,
                    at=now(),
                    machine=Machine(
                        ready.device, ready.device_name, ready.clock, ready.threads, ready.versions
                    ),
                    workload={"name": ready.name, **ready.arguments},
                    foreseen=foreseen(self.plan.known, examined.inapplicable, trace),
                    baseline=bench.baseline(),
                )
            )
        self.surveyed.add(setting.case)

    def _measure(self, setting: Setting, names: Sequence[str]) -> None:
        with self._bench(setting) as bench:
            for name in names:
                say(f"{setting.case.name}: {name}")
                found = bench.compare((name,), (), fresh=True)
                if found.timed_out and found.took_s < setting.effort.limit_s:
                    raise OutOfTimeError  # near the deadline a bench gives answers less time
                record = self._record(setting, name, found)
                self.store.append(record)
                self.done.add((setting.case, name))
                say(f"{setting.case.name}: {name}: {summary(record.result)}")

    def _record(self, setting: Setting, name: str, found: Compared) -> Measured:
        survey = self.store.survey(setting)
        assert survey is not None
        result = result_of(found, self.plan.known[name], survey)
        return Measured(
            setting=setting,
            at=now(),
            machine=survey.machine,
            took_s=found.took_s,
            timed_out=found.timed_out,
            baseline_s=found.baseline_s,
            baseline_peak_bytes=survey.baseline.peak_bytes,
            noise=survey.baseline.noise,
            result=result,
        )

    @contextmanager
    def _bench(self, setting: Setting) -> Iterator[ProcessBench]:
        """A bench of one workload, which knows what was found of its baseline."""
        survey = self.store.survey(setting)
        left_s = self.plan.deadline - time.monotonic()
        question = Question(subject_of(setting), self.plan.known, setting.effort)
        with tempfile.TemporaryDirectory(prefix="mmprof-") as folder:
            run = Run(Path(folder, "run.jsonl"), [survey.baseline] if survey else [])
            timetable = Timetable(left_s, confirming=True)
            with closing(ProcessBench(question, run, Path(folder), timetable)) as bench:
                yield bench


def subject_of(setting: Setting) -> Subject:
    """A setting as the tracer takes it."""
    case = setting.case
    settings = (f"requests={case.requests}",) if case.requests else ()
    wish = Wish(task=case.task, size=case.size, output_length=case.output_length, settings=settings)
    return Subject(family=families()[case.family], wish=wish, device=setting.device)


def foreseen(
    known: Mapping[str, Lever], inapplicable: Mapping[str, str], trace: Path
) -> dict[str, Foreseen]:
    """What a trace of the baseline says of each lever that applies, and why the others do not."""
    usable = {name: lever for name, lever in known.items() if name not in inapplicable}
    said = forecast(trace, usable)
    found = {name: Foreseen(readable(why)) for name, why in inapplicable.items()}
    for name in usable:
        prediction = said.of((name,))
        why = "" if prediction else said.reasons.get(name, "")
        found[name] = Foreseen("", prediction, why, name in said.silent)
    return found


def hope(foreseen: Foreseen) -> tuple[int, float]:
    """Sorts levers: predicted gains, the largest first; then those of which no trace can tell; then those without a gain."""
    predicted = foreseen.predicted
    if predicted is not None and predicted.expected >= WORTHWHILE:
        return 0, -predicted.expected
    return (1, 0.0) if foreseen.silent else (2, 0.0)


def result_of(found: Compared, lever: Lever, survey: Surveyed) -> LeverResult:
    """What a comparison says of a lever, as `mmprof verify` says it."""
    predicted = survey.foreseen.get(lever.id, Foreseen()).predicted
    empty = LeverResult(
        lever=lever.id, verdict="failed", exactness=lever.exactness, predicted=predicted
    )
    if found.failure:
        verdict = "not applicable" if found.inapplicable else "failed"
        return msgspec.structs.replace(empty, verdict=verdict, reason=readable(found.failure))
    assert found.check is not None
    if found.total is None:
        return msgspec.structs.replace(empty, verdict="outputs differ", output_check=found.check)
    speedup = found.total.widened(survey.baseline.noise)
    return msgspec.structs.replace(
        empty,
        verdict=verdict_of(speedup, found.check),
        speedup=speedup.median,
        interval=(speedup.low, speedup.high),
        p_value=found.p_value,
        pairs=len(found.runs_s),
        runs_s=found.runs_s,
        output_check=found.check,
        setup_cost_s=found.setup_cost_s,
        pays_back_after_calls=pays_back_after_calls(found),
        peak_bytes=found.peak_bytes,
    )


def pays_back_after_calls(found: Compared) -> int | None:
    """Requests whose gain makes up for the setup; None where they never do."""
    gain_s = statistics.median(found.baseline_s) - statistics.median(found.runs_s)
    if found.setup_cost_s is None or gain_s <= 0:
        return None
    return math.ceil(found.setup_cost_s / gain_s)


def readable(reason: str) -> str:
    """A reason without the folders of this machine."""
    return _FOLDERS.sub("", reason)


def summary(result: LeverResult) -> str:
    """A result in a few words."""
    if result.speedup is None:
        return f"{result.verdict} {result.reason[:100]}".strip()
    low, high = result.interval or (0.0, 0.0)
    return f"{result.verdict} {result.speedup:.3f}x ({low:.3f} to {high:.3f})"


def say(text: str) -> None:
    """Tell what begins and ends."""
    clock = time.strftime("%H:%M:%S")
    print(f"{clock} {text.splitlines()[0] if text else ''}", file=sys.stderr, flush=True)
