"""What `mmprof trace` says of a recording."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.output import print_result, say
from mmprof.cli.renderers.safe import printable
from mmprof.cli.renderers.units import bytes_, count, duration

if TYPE_CHECKING:
    from pathlib import Path

    from mmprof.analyzers.sidecar import Sidecar, Timing
    from mmprof.tracer.record import Recording
    from mmprof.tracer.trace_files import TraceFile

SCHEMA: Final = "mmprof.recording/1"


def report(recording: Recording, *, as_json: bool) -> None:
    """Write the result: where the trace is, what it holds, how long the workload took."""
    assert recording.trace is not None
    if as_json:
        print_result(_document(recording.trace, recording.sidecar))
        return
    lines = [_written(recording.trace), *described(recording.sidecar), _next(recording.trace)]
    print_result("".join(f"{printable(line)}\n" for line in lines))


def say_written(trace: TraceFile | None, program: str, *, seen_from: Path) -> None:
    """Tell on standard error what a program's trace holds: standard output is the program's.

    Args:
        trace: What was written.
        program: What the program is called.
        seen_from: The folder in which the user is.

    Raises:
        MmprofError: There is no trace, because the program never imported torch.
    """
    if trace is None:
        raise MmprofError(
            "MM-E058",
            f"nothing was recorded: {program} never imported torch",
            hint="a process that it started may have: trace that one",
        )
    if trace.path.is_relative_to(seen_from):
        trace = replace(trace, path=trace.path.relative_to(seen_from))
    say(printable(_written(trace)))
    say(printable(_next(trace)))


def left_behind(recording: Recording) -> tuple[str, str]:
    """What a workload that failed left, and what to do with it."""
    if recording.trace is None:
        return "no trace: recording had not begun", ""
    return f"a trace of what it did until then: {_written(recording.trace)}", _command(
        recording.trace
    )


def _written(trace: TraceFile) -> str:
    return f"{trace.path}: {count(trace.events)} events, {bytes_(trace.bytes)}"


def _next(trace: TraceFile) -> str:
    return f"next: {_command(trace)}"


def _command(trace: TraceFile) -> str:
    return f"mmprof analyze {shlex.quote(str(trace.path))}"


def described(sidecar: Sidecar) -> Iterator[str]:
    """What was run and how long it took; text of the sidecar is not yet made safe."""
    shown = ("task", "size", "dtype", "batch", "seed")
    arguments = sidecar.workload.arguments
    words = [sidecar.workload.name, *(f"{k}={arguments[k]}" for k in shown if k in arguments)]
    yield f"{' '.join(words)} on {sidecar.device.name}"
    yield from _times(sidecar.timing)
    yield from (f"note: {note}" for note in sidecar.notes)


def _times(timing: Timing) -> Iterator[str]:
    if timing.median_s is not None and timing.interval_s is not None:
        low, high = (duration(1e9 * s) for s in timing.interval_s)
        yield (
            f"{duration(1e9 * timing.median_s)} without the profiler "
            f"(median of {len(timing.runs_s)}, {low} to {high})"
        )
    if timing.profiled_s is not None:
        part = "" if timing.profiled_whole else ", until recording ended"
        yield f"{duration(1e9 * timing.profiled_s)} with it{part}"


def _document(trace: TraceFile, sidecar: Sidecar) -> str:
    import msgspec  # noqa: PLC0415  (50 ms that only this case should cost)

    document = {
        "schema": SCHEMA,
        "trace": str(trace.path),
        "events": trace.events,
        "bytes": trace.bytes,
        "sidecar": sidecar,
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
