"""How many events a decode step adds to a trace, and so how many steps fit into a number of events."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from mmprof.tracer.phases import listening, phase_name
from mmprof.tracer.recorder import DECODE, Recorder

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import ProfilerOptions
    from mmprof.tracer.workload import Workload

_PROBED_STEPS: Final = 2


class _Event(Struct):
    ph: str = ""
    name: str | None = None
    ts: float = 0


class _Events(Struct):
    traceEvents: list[_Event]  # noqa: N815  (the format's name)


@dataclass(frozen=True, slots=True)
class Growth:
    """How many decode steps to record.

    Attributes:
        steps: Decode steps; None where their number cannot bound the events.
        reason: How that came about, for a note.
    """

    steps: int | None
    reason: str


def steps_within(events: int, workload: Workload, device: str, options: ProfilerOptions) -> Growth:
    """Record two decode steps of a workload, and see how many more would fit.

    Args:
        events: Complete events that the trace may have.
        workload: What will be recorded; it is run once.
        device: As for `Recorder`.
        options: As for `Recorder`.
    """
    times = _probe(workload, device, options)
    second = times.decode_starts[1] if len(times.decode_starts) > 1 else None
    if second is None:
        return Growth(None, "the workload has no decode steps")
    before = sum(ts < second for ts in times.events)
    per_step = max(1, len(times.events) - before)
    if events < before:
        return Growth(1, f"the least, up to the end of the first decode step, is {before:,} events")
    steps = 1 + (events - before) // per_step
    return Growth(steps, f"{per_step:,} events a decode step, so {steps:,} steps fit")


@dataclass(frozen=True, slots=True)
class _Times:
    events: list[float]
    decode_starts: list[float]


def _probe(workload: Workload, device: str, options: ProfilerOptions) -> _Times:
    recorder = Recorder(device, options, models=workload.models or None)
    recorder.start()
    try:
        with listening(recorder.stop_at(_PROBED_STEPS)):
            workload.run()
    finally:
        recorder.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.json")
        recorder.export(path, force=True)
        return _times_in(path)


def _times_in(path: Path) -> _Times:
    found = msgspec.json.decode(path.read_bytes(), type=_Events, strict=False).traceEvents
    complete = [event for event in found if event.ph == "X"]
    names = [phase_name(DECODE, index) for index in range(_PROBED_STEPS)]
    starts = [event.ts for name in names for event in complete if event.name == name]
    return _Times([event.ts for event in complete], starts)
