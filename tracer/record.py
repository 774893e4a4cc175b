"""Recording a workload: warm-up, un-profiled runs, the profiled run, and what ended it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec
import torch

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.sidecar import Ceiling, ProfilerOptions, Sidecar, Timing
from mmprof.tracer.growth import steps_within
from mmprof.tracer.order import Limits, Progress, silent
from mmprof.tracer.phases import listening
from mmprof.tracer.recorder import Recorder
from mmprof.tracer.sidecar import failure_of, sidecar_of, workload_facts, write_sidecar
from mmprof.tracer.takes import Cost, least_disturbed
from mmprof.tracer.timing import summarized, timed, timed_runs
from mmprof.tracer.trace_files import TraceFile

if TYPE_CHECKING:
    from torch import nn

    from mmprof.tracer.workload import Workload

TIMED_LIMIT_S: Final = 20.0
"""The un-profiled runs end after about this long: their median matters, but so does the user's time."""

_ENCODERS: Final = (torch.nn.TransformerEncoderLayer, torch.nn.TransformerEncoder)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to record.

    Attributes:
        path: Where the trace goes.
        device: The torch device that the workload uses.
        options: What the profiler records.
        limits: How often the workload runs, and how much of it is recorded.
        force: Whether to replace existing files.
        again: Whether to record again where that is much slower than running (`takes.least_disturbed`).
        progress: Told what begins.
    """

    path: Path
    device: str
    options: ProfilerOptions
    limits: Limits = field(default_factory=Limits)
    force: bool = False
    again: bool = False
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded.

    Attributes:
        trace: The trace; None where the run ended before anything was recorded.
        sidecar: What its sidecar says.
        error: What ended the run early; None where nothing did.
    """

    trace: TraceFile | None
    sidecar: Sidecar
    error: BaseException | None = None


@dataclass(slots=True)
class _Known:
    """What is known of a recording so far."""

    warmup_s: list[float] = field(default_factory=list)
    runs_s: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    profiled_s: float | None = None
    whole: bool = True
    error: BaseException | None = None


def record(
    workload: Workload,
    plan: Plan,
    *,
    ceilings: Sequence[Ceiling] = (),
    notes: Sequence[str] = (),
) -> Recording:
    """Run a workload un-profiled and profiled, and write the trace and its sidecar.

    A workload that fails, or is interrupted, while it is recorded leaves a trace of what it did until then; one that
    fails before is run again under the profiler for that.

    Args:
        workload: What to run.
        plan: How.
        ceilings: For the sidecar.
        notes: For the sidecar, before those that recording adds.

    Raises:
        MmprofError: A file cannot be written, or another profiler is recording.
    """
    known = _Known(notes=list(notes))
    known.error = _run_unprofiled(workload, plan, known)
    trace = None
    if not isinstance(known.error, KeyboardInterrupt):
        trace = _run_profiled(workload, plan, known)
    sidecar = _described(workload, plan, known, ceilings=ceilings)
    if trace is not None:
        write_sidecar(plan.path, sidecar, force=plan.force)
    return Recording(trace, sidecar, known.error)


def _described(
    workload: Workload, plan: Plan, known: _Known, *, ceilings: Sequence[Ceiling]
) -> Sidecar:
    sidecar = sidecar_of(
        plan.path,
        plan.device,
        workload_facts(workload),
        timing=_timing(known),
        profiler=plan.options,
    )
    failure = failure_of(known.error) if known.error else None
    return msgspec.structs.replace(
        sidecar, ceilings=list(ceilings), notes=known.notes, error=failure
    )


def _timing(known: _Known) -> Timing:
    timing = summarized(known.runs_s, known.warmup_s)
    return msgspec.structs.replace(timing, profiled_s=known.profiled_s, profiled_whole=known.whole)


def _run_unprofiled(workload: Workload, plan: Plan, known: _Known) -> BaseException | None:
    """Warm up and time; what ended it early."""
    try:
        plan.progress("warming up")
        known.warmup_s += [timed(workload.run, plan.device) for _ in range(plan.limits.warmups)]
        plan.progress("timing without the profiler")
        known.runs_s += timed_runs(
            workload.run, plan.device, repeats=plan.limits.repeats, limit_s=TIMED_LIMIT_S
        )
    except MmprofError:
        raise
    except BaseException as error:  # noqa: BLE001  (a user's model may raise anything)
        return error
    if len(known.runs_s) < plan.limits.repeats:
        known.notes.append(
            f"{len(known.runs_s)} of {plan.limits.repeats} un-profiled runs: more would take longer than {TIMED_LIMIT_S:g} s"
        )
    return None


def _run_profiled(workload: Workload, plan: Plan, known: _Known) -> TraceFile:
    steps = plan.limits.steps if known.error else _bounded_steps(workload, plan, known)
    known.notes += _notes_on(workload.models, plan.options)
    plan.progress("recording")
    kept = _kept(workload, plan, known, steps)
    known.error, known.whole = kept.error or known.error, kept.whole
    known.profiled_s = kept.recorder.elapsed_s
    known.notes += _notes_on_end(plan.limits.steps, steps, known)
    known.notes += [f"{name}: {value!r}" for name, value in workload.facts().items()]
    plan.progress("writing the trace")
    return kept.recorder.export(plan.path, force=plan.force)


@dataclass(frozen=True, slots=True)
class _Take:
    """One recording.

    Attributes:
        recorder: What recorded it.
        whole: Whether it lasted until the run ended.
        error: What ended the run early; None where nothing did.
    """

    recorder: Recorder
    whole: bool
    error: BaseException | None


def _kept(workload: Workload, plan: Plan, known: _Known, steps: int) -> _Take:
    """The recording that says most of the workload."""

    def take() -> _Take:
        return _take(workload, plan, steps)

    if not (plan.again and known.runs_s):
        return take()
    kept, taken_s = least_disturbed(take, _comparable_cost, median(known.runs_s))
    if len(taken_s) > 1 and _comparable_cost(kept):
        each = ", ".join(f"{seconds:.3g} s" for seconds in taken_s)
        known.notes.append(
            f"recorded {len(taken_s)} times ({each}): new pages of memory made the first one slow"
        )
    return kept


def _comparable_cost(take: _Take) -> Cost | None:
    return None if take.error or not take.whole else take.recorder.cost


def _take(workload: Workload, plan: Plan, steps: int) -> _Take:
    recorder, error = Recorder(plan.device, plan.options, models=workload.models or None), None
    recorder.start()
    try:
        with ExitStack() as listeners:
            if steps:
                listeners.enter_context(listening(recorder.stop_at(steps)))
            workload.run()
    except BaseException as raised:  # noqa: BLE001  (a user's model may raise anything)
        error = raised
    whole = recorder.running
    recorder.stop()
    return _Take(recorder, whole, error)


def _notes_on_end(asked: int, steps: int, known: _Known) -> list[str]:
    """Where recording ended, if not where the run did."""
    if not known.whole:
        return [f"recording ended before decode step {steps}; the run went on without"]
    if asked and not known.error:
        return [f"--steps {asked:,} has no effect: the run has no decode step {steps:,}"]
    return []


def _bounded_steps(workload: Workload, plan: Plan, known: _Known) -> int:
    """How many decode steps to record; 0 for all."""
    if not plan.limits.max_events:
        return plan.limits.steps
    plan.progress("counting the events of a decode step")
    growth = steps_within(plan.limits.max_events, workload, plan.device, plan.options)
    if growth.steps is None:
        known.notes.append(
            f"--max-events {plan.limits.max_events:,} has no effect: {growth.reason}"
        )
        return plan.limits.steps
    known.notes.append(f"--max-events {plan.limits.max_events:,}: {growth.reason}")
    return min(plan.limits.steps or growth.steps, growth.steps)


def _notes_on(models: Mapping[str, nn.Module], options: ProfilerOptions) -> list[str]:
    """Where annotating modules changes what runs."""
    modules = (module for model in models.values() for module in model.modules())
    if options.modules and any(isinstance(m, _ENCODERS) and not m.training for m in modules):
        return [
            "torch.nn.TransformerEncoderLayer does not take its fused path while its modules are annotated: "
            "--no-modules records it"
        ]
    return []
