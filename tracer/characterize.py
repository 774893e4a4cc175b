"""Characterizing: every task of some families is recorded several times, and some are recorded again with other lengths and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.characterize_measure import Recorded, sweep_point, task_result
from mmprof.tracer.characterize_results import (
    Characterization,
    Skipped,
    Sweep,
    SweepPoint,
    TaskResult,
)
from mmprof.tracer.families import for_one_of
from mmprof.tracer.order import Limits, Manner, Progress, Subject, Wish, silent

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import Sidecar
    from mmprof.tracer.workload import Family

BATCHES: Final = (1, 2, 4, 8)
FACTORS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Lengths of a sweep, as multiples of the default; what a model cannot take is skipped."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Axis:
    """What a sweep varies.

    Attributes:
        vary: The wish with a value of the axis.
        told_by: Arguments of a workload that tell its own value; empty where the values are always `BATCHES`.
    """

    vary: Callable[[Wish, int], Wish]
    told_by: tuple[str, ...] = ()

    def values(self, base: TaskResult) -> list[int]:
        """The values for a task: lengths around its own, none where it has no such length."""
        if not self.told_by:
            return list(BATCHES)
        told = (base.arguments[name] for name in self.told_by if name in base.arguments)
        length = int(next(told, 0))
        return sorted({round(length * factor) for factor in FACTORS} - {0})


AXES: Final = {
    "length": Axis(
        lambda wish, value: replace(wish, input_length=value),
        ("input_length", "tokens", "longest"),
    ),
    "output": Axis(
        lambda wish, value: replace(wish, output_length=value), ("output_length", "steps")
    ),
    "batch": Axis(lambda wish, value: replace(wish, batch=value)),
}
"""What can be varied, by name."""


@dataclass(frozen=True, slots=True)
class Study:
    """What to characterize.

    Attributes:
        families: The families, all tasks of each.
        folder: Where traces go; it exists.
        wish: Size, dtype and the like for every task.
        device: A torch device; empty for the accelerator where there is one.
        recordings: Recordings of each task, whose ranges are shown.
        limits: Un-profiled runs of each task, and how much is recorded.
        axes: What to sweep, of `AXES`, with the first task of each family.
        force: Replace existing traces.
        progress: Told what begins.
    """

    families: Sequence[Family]
    folder: Path = field(default_factory=Path)
    wish: Wish = field(default_factory=Wish)
    device: str = ""
    recordings: int = 3
    limits: Limits = field(default_factory=Limits)
    axes: Sequence[str] = ()
    force: bool = False
    progress: Progress = silent


@dataclass(slots=True)
class _Found:
    """What is known so far."""

    tasks: list[TaskResult] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sidecar: Sidecar | None = None
    failure: MmprofError | None = None

    def attempt(self, what: str, measure: Callable[[], T]) -> T | None:
        """What a measurement finds; None, with the reason kept, where it fails."""
        try:
            return measure()
        except MmprofError as error:
            self.failure = self.failure or error
            self.skipped.append(Skipped(what, error.message))
            return None


def characterize(study: Study) -> Characterization:
    """Record and analyze the tasks of a study; what fails is left out, with the reason.

    An interrupted study tells what was measured until then.

    Raises:
        MmprofError: Nothing could be measured: the first reason.
    """
    found = _Found()
    try:
        for family in study.families:
            _measure(study, family, found)
    except KeyboardInterrupt:
        if not found.tasks:
            raise
        found.skipped.append(Skipped("the rest", "interrupted"))
    if not found.tasks or found.sidecar is None:
        raise found.failure or MmprofError("MM-E053", "there is nothing to characterize")
    return _described(found, found.sidecar)


def _measure(study: Study, family: Family, found: _Found) -> None:
    """All tasks of a family, and the sweeps of its first."""
    for task in family.tasks:
        subject = _subject(study, family, task.name)
        result = found.attempt(f"{family.name} {task.name}", partial(_task, study, subject, found))
        found.tasks += [result] if result else []
    done = [result for result in found.tasks if result.family == family.name]
    if done and done[0].task == family.tasks[0].name:
        found.sweeps += (_sweep(study, done[0], axis, found) for axis in study.axes)


def _task(study: Study, subject: Subject, found: _Found) -> TaskResult:
    recorded = [
        _recorded(study, subject, f"{subject.name}.{number}", _limits(study, first=number == 0))
        for number in range(study.recordings)
    ]
    found.sidecar = found.sidecar or recorded[0].sidecar
    return task_result(recorded)


def _limits(study: Study, *, first: bool) -> Limits:
    """The first recording has the un-profiled runs, the others only warm up."""
    return study.limits if first else replace(study.limits, repeats=0)


def _sweep(study: Study, base: TaskResult, axis: str, found: _Found) -> Sweep:
    points = [
        found.attempt(f"{base.label}, {axis} {value}", partial(_point, study, base, axis, value))
        for value in AXES[axis].values(base)
    ]
    return Sweep(axis, base.family, base.task, [point for point in points if point])


def _point(study: Study, base: TaskResult, axis: str, value: int) -> SweepPoint:
    family = next(family for family in study.families if family.name == base.family)
    subject = _subject(study, family, base.task)
    varied = replace(subject, wish=AXES[axis].vary(subject.wish, value))
    recorded = _recorded(study, varied, f"{subject.name}.{axis}-{value}", study.limits)
    return sweep_point(value, recorded)


def _subject(study: Study, family: Family, task: str) -> Subject:
    wish = for_one_of(family, replace(study.wish, task=task))
    return Subject(family=family, wish=wish, device=study.device)


def _recorded(study: Study, subject: Subject, name: str, limits: Limits) -> Recorded:
    """Record a subject once.

    Raises:
        MmprofError: It cannot be built, or it failed while it ran.
        KeyboardInterrupt: The user ended it.
    """
    from mmprof.tracer.tracing import error_of, trace_workload  # noqa: PLC0415  (torch: seconds)

    path = study.folder / f"{name}.json.gz"
    manner = Manner(
        force=study.force, limits=limits, progress=lambda what: study.progress(f"{name}: {what}")
    )
    recording = trace_workload(subject, path, manner)
    if isinstance(recording.error, KeyboardInterrupt):
        raise recording.error
    if recording.error is not None:
        raise error_of(recording.error) from recording.error
    study.progress(f"{name}: analyzing")
    return Recorded(path, recording.sidecar)


def _described(found: _Found, sidecar: Sidecar) -> Characterization:
    arguments = sidecar.workload.arguments
    return Characterization(
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        size=str(arguments.get("size", "")),
        dtype=str(arguments.get("dtype", "")),
        device=sidecar.device,
        host=sidecar.host,
        versions=sidecar.versions,
        host_is_device=sidecar.device.type == "cpu",
        tasks=found.tasks,
        sweeps=[sweep for sweep in found.sweeps if sweep.points],
        skipped=found.skipped,
    )
