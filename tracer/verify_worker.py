"""A trial: a process of its own that holds one workload under some levers, and does what its parent says.

`python -m mmprof.tracer.verify_worker` reads requests from standard input and writes replies to standard output, one JSON
document a line; what a model prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import torch

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.ceilings import ceilings
from mmprof.tracer.devices import CPU, synchronize
from mmprof.tracer.families import families
from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.machine import device_facts, versions
from mmprof.tracer.memory_limit import memory_limited
from mmprof.tracer.optimization.fingerprint import digest_of_own_code
from mmprof.tracer.order import Limits, Subject
from mmprof.tracer.orphans import end_with_parent
from mmprof.tracer.record import Plan, record
from mmprof.tracer.recorder import Recorder, options_for
from mmprof.tracer.takes import least_disturbed
from mmprof.tracer.timing import timed
from mmprof.tracer.tracing import build_subject, error_of
from mmprof.tracer.verify_messages import (
    Compare,
    Compared,
    Examine,
    Examined,
    FindPeak,
    Inapplicable,
    KeepReference,
    Kept,
    Measure,
    Peak,
    Prepare,
    Prepared,
    Profile,
    Profiled,
    Raised,
    Record,
    Recorded,
    Reply,
    Request,
    Timed,
)
from mmprof.tracer.verify_outputs import Reference, check_outputs, reference_of
from mmprof.tracer.verify_results import Clock, OutputCheck
from mmprof.tracer.workload import Workload

_MIN_WARMUPS: Final = 2
_MAX_WARMUPS: Final = 6
_STEADY: Final = 0.75
"""A run that takes at least this share of the one before is as warm as it gets."""

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_FORGET_PEAK: Final = "5"  # proc(5): resets the peak resident set size
_KIB: Final = 1 << 10


class Trial:
    """The state of a trial process."""

    def __init__(self) -> None:
        self._levers = ExitStack()
        self._workload = Workload("", {}, lambda: None)
        self._device = CPU

    def answer(self, request: Request) -> Reply:
        """Do what is asked; whatever goes wrong is an answer, too."""
        try:
            return self._answer(request)
        except NotApplicableError as reason:
            return Inapplicable("", str(reason))
        except MmprofError as error:
            return Raised(error.message, error.code, error.found, error.hint)
        except Exception as error:  # noqa: BLE001  (a user's model or lever may raise anything)
            told = error_of(error)
            return Raised(told.message.removeprefix("the workload failed: "))

    def _answer(self, request: Request) -> Reply:
        answers: dict[type, Callable[[Any], Reply]] = {
            Prepare: self._prepare,
            Measure: lambda asked: Timed(self._timed(asked.calls)),
            KeepReference: self._keep_reference,
            Compare: lambda asked: Compared(self._compare(asked)),
            FindPeak: lambda _: Peak(peak_bytes(self._workload.run, self._device)),
            Profile: self._profile,
            Examine: self._examine,
            Record: self._record,
        }
        return answers[type(request)](request)

    def _keep_reference(self, asked: KeepReference) -> Reply:
        reference = reference_of(self._workload, draws=asked.draws)
        reference.save(Path(asked.path))
        return Kept(reference.deterministic)

    def _prepare(self, asked: Prepare) -> Reply:
        if asked.threads:
            torch.set_num_threads(asked.threads)
        built = build_subject(_subject(asked))
        self._workload, self._device = built.workload, built.device
        start = time.perf_counter()
        for name in asked.levers:
            lever = lever_named(name)
            reason = lever.applies(self._workload, self._device)
            if reason:
                return Inapplicable(lever.id, reason)
            self._workload = self._levers.enter_context(lever.apply(self._workload))
        apply_s = time.perf_counter() - start
        return Prepared(
            name=self._workload.name,
            arguments=dict(self._workload.arguments),
            device=self._device,
            device_name=device_facts(self._device).name,
            clock=self._clock,
            threads=torch.get_num_threads(),
            versions=versions(),
            apply_s=apply_s,
            warmup_s=list(self._warmups()),
        )

    def _warmups(self) -> Iterator[float]:
        """Run until a run takes about as long as the one before."""
        before = 0.0
        for number in range(_MAX_WARMUPS):
            seconds = timed(self._workload.run, self._device)
            yield seconds
            if number + 1 >= _MIN_WARMUPS and seconds >= _STEADY * before:
                return
            before = seconds

    @property
    def _clock(self) -> Clock:
        """CPU time is steadier than wall time, but adds up over threads."""
        return "cpu" if self._device == CPU and torch.get_num_threads() == 1 else "wall"

    def _timed(self, calls: int) -> float:
        """Seconds of some requests."""
        if self._clock == "wall":
            return sum(timed(self._workload.run, self._device) for _ in range(calls))
        start = time.process_time()
        for _ in range(calls):
            self._workload.run()
        return time.process_time() - start

    def _compare(self, asked: Compare) -> OutputCheck:
        reference = Reference.load(Path(asked.path))
        return check_outputs(self._workload, reference, asked.exactness, budget=asked.budget)

    def _examine(self, asked: Examine) -> Reply:
        levers = {name: lever_named(name) for name in asked.levers}
        reasons = {n: lever.applies(self._workload, self._device) for n, lever in levers.items()}
        return Examined({n: why for n, why in reasons.items() if why}, digest_of_own_code())

    def _record(self, asked: Record) -> Reply:
        options = options_for(self._device, stacks=False, memory=False, modules=True)
        plan = Plan(
            Path(asked.path),
            self._device,
            options,
            Limits(warmups=0),
            force=True,
            again=True,
        )
        recording = record(self._workload, plan, ceilings=ceilings(self._device))
        if recording.error is not None:
            raise recording.error
        return Recorded()

    def _profile(self, asked: Profile) -> Reply:
        """Record a request, again where that disturbed it."""
        usual_s = timed(self._workload.run, self._device)
        recorder, _ = least_disturbed(self._recorded, lambda each: each.cost, usual_s)
        recorder.export(Path(asked.path), force=True)
        return Profiled()

    def _recorded(self) -> Recorder:
        options = options_for(self._device, stacks=False, memory=False, modules=False)
        recorder = Recorder(self._device, options)
        recorder.start()
        try:
            self._workload.run()
        finally:
            recorder.stop()
        return recorder


def peak_bytes(run: Callable[[], object], device: str) -> int | None:
    """Most memory during a run: of the process on a CPU, allocated on an accelerator; None where the system does not say."""
    if device != CPU:
        memory = getattr(torch, device.partition(":")[0])
        synchronize(device)
        memory.reset_peak_memory_stats(device)
        run()
        synchronize(device)
        return int(memory.max_memory_allocated(device))
    try:
        _CLEAR.write_text(_FORGET_PEAK)
    except OSError:
        run()
        return None
    run()
    return _peak_resident()


def _peak_resident() -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB
    return None


def _subject(asked: Prepare) -> Subject:
    return Subject(
        family=families()[asked.family] if asked.family else None,
        target=asked.target,
        folder=Path(asked.folder) if asked.folder else None,
        wish=asked.wish,
        device=asked.device,
    )


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the parent says nothing more."""
    decode = msgspec.json.Decoder(Request).decode
    trial = Trial()
    for line in requests:
        replies.write(msgspec.json.encode(trial.answer(decode(line))) + b"\n")
        replies.flush()


@contextmanager
def _private_output() -> Iterator[BinaryIO]:
    """Standard output for replies alone: whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        yield replies


def main() -> None:
    """Serve on standard input and output."""
    end_with_parent()
    with _private_output() as replies, memory_limited(CPU):
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
