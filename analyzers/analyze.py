"""The whole analysis of one trace or several: views, analyses, the check that everything adds up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from mmprof.analyzers import findings as finding_rules
from mmprof.analyzers.concurrency import side_by_side
from mmprof.analyzers.devices import DeviceMatch, DeviceSpec, match_device, measured_device
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.findings import Finding
from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.load import load
from mmprof.analyzers.load.ahead import ReadAhead
from mmprof.analyzers.notes import Note, note
from mmprof.analyzers.registry import analyses
from mmprof.analyzers.trace import InputFacts, Trace
from mmprof.analyzers.view import HOST_DEVICE, View
from mmprof.analyzers.windows import window_spans

TRACE_SUFFIXES: Final = (".json", ".json.gz", ".json.zst")
_NO_WINDOW: Final = ("MM-E020", "MM-E021")


@dataclass(frozen=True, slots=True)
class Options:
    """What to analyze.

    Attributes:
        rank: Only this rank; None for all.
        device: Only this device; None for all.
        window: A step, phase, annotation or time range (`windows.window_spans`); empty for the whole trace.
        spec: Peaks to use instead of the device table's.
        twin: A trace of the same work without graphs, whose operators stand for those of graph replays; empty for none.
    """

    rank: int | None = None
    device: int | None = None
    window: str = ""
    spec: DeviceSpec | None = None
    twin: str = ""


@dataclass(frozen=True)
class DeviceReport:
    """The results of one device.

    Attributes:
        name: Name of the device as the trace gives it, else as the device table does.
        results: Result of each analysis by its name.
        input: Position of the trace in the report's inputs.
    """

    rank: int
    device: int
    name: str
    results: dict[str, msgspec.Struct]
    findings: tuple[Finding, ...] = ()
    input: int = 0

    def value(self, field_name: str) -> Any:
        """A field of any of the results.

        Raises:
            KeyError: No analysis has this field.
        """
        for result in self.results.values():
            if field_name in result.__struct_fields__:
                return getattr(result, field_name)
        raise KeyError(field_name)


@dataclass(frozen=True)
class Report:
    """Everything that is known of the inputs.

    Attributes:
        window: The window that was asked for; empty for the whole trace.
        rank: The rank that was asked for; None for all.
        device: The device that was asked for; None for all.
    """

    inputs: tuple[InputFacts, ...] = ()
    notes: tuple[Note, ...] = ()
    devices: tuple[DeviceReport, ...] = ()
    window: str = ""
    rank: int | None = None
    device: int | None = None


@dataclass
class _Gathered:
    """What is known while the inputs are read one after the other.

    Attributes:
        failed: Why inputs were left out.
    """

    inputs: list[InputFacts] = field(default_factory=list[InputFacts])
    notes: list[Note] = field(default_factory=list[Note])
    devices: list[DeviceReport] = field(default_factory=list[DeviceReport])
    failed: list[MmprofError] = field(default_factory=list[MmprofError])

    def leave_out(self, name: str, error: MmprofError) -> None:
        self.failed.append(error)
        self.notes.append(note("MM-N022", name=name, reason=error.message))

    def add(self, trace: Trace, options: Options) -> None:
        self.inputs.append(trace.facts)
        self.notes += trace.notes
        if options.rank not in (None, trace.rank):
            return
        try:
            found = analyze_trace(trace, options, self.notes)
        except MmprofError as error:
            if error.code not in _NO_WINDOW:
                raise
            self.leave_out(trace.facts.path, error)
        else:
            self.devices += (replace(d, input=len(self.inputs) - 1) for d in found)


def analyze(
    paths: Sequence[str], options: Options | None = None, *, ahead: ReadAhead | None = None
) -> Report:
    """Analyze trace files, or folders that hold one trace per rank.

    One trace is in memory at a time.

    Args:
        paths: Files, folders, or `-` for standard input.
        options: What to analyze; None for everything.
        ahead: One of the files, if its reading was started already.

    Raises:
        MmprofError: An input cannot be read, nothing matches the options, the twin is of other work, or the results do
            not add up.
    """
    options = options or Options()
    gathered = _Gathered()
    explained = _by_twin(options.twin)
    for trace in _traces(paths, gathered, ahead):
        gathered.add(explained(trace), options)
        del trace  # or it would be kept while the next one is loaded
    _require_devices(gathered, options)
    notes = [*gathered.notes, *_same_rank(gathered)]
    return Report(
        tuple(gathered.inputs),
        tuple(dict.fromkeys(notes)),
        tuple(gathered.devices),
        options.window,
        options.rank,
        options.device,
    )


def analyze_trace(
    trace: Trace, options: Options, notes: list[Note] | None = None
) -> list[DeviceReport]:
    """Analyze each device of a trace; what had to be assumed is appended to `notes`."""
    said = [] if notes is None else notes
    reports = []
    for view in views(trace, options):
        if view.match is None and not view.is_host:
            said.append(note("MM-N019", found=_named(trace, view.device) or "no name"))
        reports.append(device_report(view))
    return reports


def views(trace: Trace, options: Options) -> Iterator[View]:
    """The views of a trace that the options select, each with its device's peaks."""
    host = HostWork(trace)
    spans = window_spans(trace, options.window) if options.window else None
    present = sorted(trace.activities["device"].unique().to_list()) or [HOST_DEVICE]
    for device in present:
        if options.device in (None, device):
            yield View(trace, host, device, spans, _match(trace, device, options.spec))


def trace_files(path: str) -> list[str]:
    """The trace files that a path stands for: itself, or those in a folder.

    Raises:
        MmprofError: The folder holds no trace.
    """
    folder = Path(path)
    if path == "-" or not folder.is_dir():
        return [path]
    found = sorted(
        str(p)
        for p in folder.rglob("*")
        if p.name.endswith(TRACE_SUFFIXES) and not p.name.endswith(".mmprof.json")
    )
    if not found:
        raise MmprofError(
            "MM-E007",
            f"{path} is a folder without traces",
            found=f"{sum(1 for _ in folder.iterdir())} entries, none ending in {', '.join(TRACE_SUFFIXES)}",
            hint="give the folder that torch.profiler exported to, or a file",
        )
    return found


def _traces(paths: Sequence[str], gathered: _Gathered, ahead: ReadAhead | None) -> Iterator[Trace]:
    for file in [f for path in paths for f in trace_files(path)]:
        try:
            trace = load(file, ahead=ahead if ahead and ahead.name == file else None)
        except MmprofError as error:
            gathered.leave_out(file, error)
        else:
            yield trace
            del trace


def _same_rank(gathered: _Gathered) -> Iterator[Note]:
    for rank, inputs in _repeated_ranks(gathered.devices).items():
        names = " and ".join(gathered.inputs[at].path for at in inputs[:2])
        more = f" and {len(inputs) - 2} more all" if len(inputs) > 2 else " both"
        yield note("MM-N023", names=f"{names}{more}", rank=rank)


def _repeated_ranks(devices: Sequence[DeviceReport]) -> dict[int, list[int]]:
    """The ranks that several inputs say, with these inputs."""
    inputs: defaultdict[int, list[int]] = defaultdict(list)
    for rank, at in dict.fromkeys((d.rank, d.input) for d in devices):
        inputs[rank].append(at)
    return {rank: found for rank, found in inputs.items() if len(found) > 1}


def _match(trace: Trace, device: int, spec: DeviceSpec | None) -> DeviceMatch | None:
    if spec is not None:
        return DeviceMatch(spec, "given by --device-spec")
    if device == HOST_DEVICE:
        return measured_device(trace.sidecar, None)
    known = match_device(trace.device_properties(device))
    return known or measured_device(trace.sidecar, _named(trace, device))


def _named(trace: Trace, device: int) -> str:
    name = trace.device_properties(device).get("name", "")
    return name if isinstance(name, str) else ""


def device_report(view: View) -> DeviceReport:
    """The results of a view.

    Raises:
        MmprofError: They do not add up.
    """
    known = analyses()
    answers = side_by_side(lambda analysis: analysis.run(view), known.values())
    results = dict(zip(known, answers, strict=True))
    findings = finding_rules.find(view)
    report = DeviceReport(view.trace.rank, view.device, device_name(view), results, findings)
    check_conservation(report)
    return report


def device_name(view: View) -> str:
    """The name of a view's device in its trace, else in the device table; empty where neither has one."""
    if view.is_host:
        lost = any(n.code == "MM-N024" for n in view.trace.notes)
        return "device not recorded" if lost else "CPU"
    return _named(view.trace, view.device) or (view.match.spec.name if view.match else "")


def check_conservation(report: DeviceReport) -> None:
    """Check that every nanosecond is counted once.

    Raises:
        MmprofError: The parts of a whole do not sum to it: a defect of mmprof.
    """
    window_ns, busy_ns, idle_ns = (report.value(f) for f in ("window_ns", "busy_ns", "idle_ns"))
    sums = {
        "busy and idle": (busy_ns + idle_ns, window_ns),
        "classes": (sum(r.time_ns for r in report.value("classes")), busy_ns),
        "bounds": (sum(r.time_ns for r in report.value("bounds")), busy_ns),
        "known and unknown work": (sum(r.time_ns for r in report.value("work")), busy_ns),
        "operators": (sum(r.time_ns for r in report.value("ops")), busy_ns),
        "idle causes": (sum(r.time_ns for r in report.value("idle_causes")), idle_ns),
    }
    wrong = {what: (got, whole) for what, (got, whole) in sums.items() if got != whole}
    if wrong:
        raise MmprofError(
            "MM-E090",
            "the results do not add up; this is a defect of mmprof, and no number of it should be used",
            found="; ".join(
                f"{what} sum to {got} ns of {whole} ns" for what, (got, whole) in wrong.items()
            ),
            hint="report it with the trace; `mmprof query` still reads the tables",
        )


def _by_twin(name: str) -> Callable[[Trace], Trace]:
    """What gives a trace the operators of its twin; without a twin, what leaves it as it is."""
    if not name:
        return lambda trace: trace
    from mmprof.analyzers.twin import load_twin, with_twin  # noqa: PLC0415  (few traces have one)

    twin = load_twin(name)
    return lambda trace: with_twin(trace, twin)


def _require_devices(gathered: _Gathered, options: Options) -> None:
    if gathered.devices:
        return
    blamed = [e for e in gathered.failed if not gathered.inputs or e.code in _NO_WINDOW]
    if blamed:
        raise _first_of(blamed)
    wanted = f"rank {options.rank}, " * (options.rank is not None) + f"device {options.device}" * (
        options.device is not None
    )
    raise MmprofError(
        "MM-E022",
        "nothing in the input matches the selection",
        found=wanted.strip(", "),
        hint="leave out --rank and --device to see what there is",
    )


def _first_of(failed: Sequence[MmprofError]) -> MmprofError:
    """The first error, with how many inputs failed where there are several."""
    first = failed[0]
    if len(failed) == 1:
        return first
    message = f"{first.message}; {len(failed)} inputs failed, this is the first"
    return MmprofError(first.code, message, found=first.found, hint=first.hint)
