"""From the traces of one task to what is said of it: pure analysis, without torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from mmprof.analyzers.analyze import DeviceReport, analyze
from mmprof.analyzers.devices.spec import dtype_key
from mmprof.analyzers.sidecar import Sidecar
from mmprof.tracer.characterize_results import (
    ClassResult,
    Latency,
    Part,
    PhaseResult,
    Range,
    Roofline,
    SweepPoint,
    TaskResult,
)

LINEAR: Final = "linear"
OTHER: Final = "other"

_PLACES: Final = {
    "feed-forward": re.compile(r"(?:^|\.)(?:mlp|ffn\d?|feed_forward|fc\d)(?:\.|$)"),
    "attention": re.compile(r"(?:^|\.)\w*(?:attn|attention)\w*(?:\.|$)"),
    "output head": re.compile(r"(?:^|\.)\w*head$"),
}
"""Where linear layers stand in a model, by the names that its authors gave their modules; the first that fits."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that was made of a task.

    Attributes:
        path: The trace.
        sidecar: What the tracer knows of it.
    """

    path: Path
    sidecar: Sidecar


@dataclass(frozen=True, slots=True)
class _Analyzed:
    """The recordings of a task, by window; the middle one stands for all."""

    devices: Sequence[DeviceReport]

    @property
    def middle(self) -> DeviceReport:
        return self.devices[(len(self.devices) - 1) // 2]

    def range_of(self, number: Callable[[DeviceReport], float]) -> Range:
        values = [number(device) for device in self.devices]
        return Range(number(self.middle), min(values), max(values))

    def parts(self, shares: Callable[[DeviceReport], Mapping[str, float]]) -> list[Part]:
        """The shares of the middle recording, the largest first, each with its range."""
        of_each = [shares(device) for device in self.devices]
        listed = sorted(shares(self.middle).items(), key=lambda item: -item[1])
        return [Part(name, _range(name, share, of_each)) for name, share in listed]


def task_result(recorded: Sequence[Recorded]) -> TaskResult:
    """What the recordings of one task say; the first one's sidecar has the un-profiled runs.

    Raises:
        MmprofError: A trace cannot be analyzed.
    """
    sidecar = recorded[0].sidecar
    seen = _analyzed(recorded)
    workload = sidecar.workload
    latency = latency_of(sidecar)
    return TaskResult(
        family=workload.name,
        task=str(workload.arguments.get("task", "")),
        arguments=workload.arguments,
        parameters=workload.parameters,
        kv_cache_bytes=workload.kv_cache_bytes,
        steps=workload.steps,
        recordings=len(recorded),
        load_average=sidecar.host.load_average,
        latency=latency,
        idle_share=seen.range_of(lambda device: float(device.value("idle_share"))),
        idle_causes=seen.parts(_shares("idle_causes", "cause", "window_ns")),
        phases=_phases(seen, latency if sidecar.timing.profiled_whole else None),
        classes=_classes(seen),
        bounds=seen.parts(_shares("bounds", "bound", "busy_ns")),
        linear=seen.parts(linear_places),
        module_coverage=seen.range_of(lambda device: float(device.value("module_coverage"))),
        roofline=_roofline(seen),
        notes=sidecar.notes,
    )


def sweep_point(value: int, recorded: Recorded) -> SweepPoint:
    """What one recording says of one point of a sweep.

    Raises:
        MmprofError: The trace cannot be analyzed.
    """
    device = _device(recorded)
    return SweepPoint(value, latency_of(recorded.sidecar), device.value("idle_share"))


def latency_of(sidecar: Sidecar) -> Latency:
    """The un-profiled runs of a sidecar, which has at least one."""
    timing, arguments = sidecar.timing, sidecar.workload.arguments
    assert timing.median_s is not None
    assert timing.interval_s is not None
    batch, tokens = int(arguments.get("batch", 1)), arguments.get("output_length")
    whole = timing.profiled_s is not None and timing.profiled_whole
    return Latency(
        median_s=timing.median_s,
        low_s=timing.interval_s[0],
        high_s=timing.interval_s[1],
        coverage=timing.coverage or 0.0,
        runs=len(timing.runs_s),
        requests_per_s=batch / timing.median_s,
        tokens_per_s=None if tokens is None else batch * int(tokens) / timing.median_s,
        slowdown=(timing.profiled_s or 0.0) / timing.median_s if whole else None,
    )


def linear_places(device: DeviceReport) -> dict[str, float]:
    """Shares of busy time of linear operators by where in the model they are; `elsewhere` is outside `Linear` modules."""
    busy_ns = device.value("busy_ns")
    linear_ns = sum(row.time_ns for row in device.value("classes") if row.class_ == LINEAR)
    if not busy_ns or not linear_ns:
        return {}
    times: defaultdict[str, int] = defaultdict(int)
    for row in device.value("module_kinds"):
        if row.module_class == "Linear" and row.time_ns:
            times[_place(row.pattern)] += row.time_ns
    rest_ns = linear_ns - sum(times.values())
    known = {place: time_ns / busy_ns for place, time_ns in times.items()}
    return known | ({"elsewhere": rest_ns / busy_ns} if rest_ns > 0 else {})


def _place(pattern: str) -> str:
    return next((name for name, fits in _PLACES.items() if fits.search(pattern)), OTHER)


def _analyzed(recorded: Iterable[Recorded]) -> _Analyzed:
    devices = [_device(one) for one in recorded]
    return _Analyzed(sorted(devices, key=lambda device: int(device.value("window_ns"))))


def _device(recorded: Recorded) -> DeviceReport:
    """The device that did most."""
    devices = analyze([str(recorded.path)]).devices
    return max(devices, key=lambda device: int(device.value("busy_ns")))


def _range(name: str, share: float, of_each: Sequence[Mapping[str, float]]) -> Range:
    values = [shares.get(name, 0.0) for shares in of_each]
    return Range(share, min(values), max(values))


def _shares(table: str, key: str, whole: str) -> Callable[[DeviceReport], dict[str, float]]:
    """What sums the rows of a table as shares of a whole."""
    name_of = attrgetter(key)

    def shares(device: DeviceReport) -> dict[str, float]:
        whole_ns = device.value(whole)
        rows = device.value(table)
        return {name_of(r): r.time_ns / whole_ns for r in rows if r.time_ns} if whole_ns else {}

    return shares


def _phases(seen: _Analyzed, latency: Latency | None) -> list[PhaseResult]:
    shares = {part.name: part.share for part in seen.parts(_shares("phases", "phase", "window_ns"))}
    return [
        PhaseResult(
            phase=row.phase,
            count=row.count,
            share=shares[row.phase],
            seconds=None if latency is None else shares[row.phase].value * latency.median_s,
            idle_share=seen.range_of(lambda device, phase=row.phase: _idle_share(device, phase)),  # type: ignore[misc]
            instance_ns=row.median_ns,
            class_shares=row.class_shares,
        )
        for row in seen.middle.value("phases")
        if row.phase in shares
    ]


def _idle_share(device: DeviceReport, phase: str) -> float:
    found = (float(row.idle_share) for row in device.value("phases") if row.phase == phase)
    return next(found, 0.0)


def _classes(seen: _Analyzed) -> list[ClassResult]:
    calls = seen.middle.value("op_shapes")
    return [
        _class_result(part, [call for call in calls if call.class_ == part.name])
        for part in seen.parts(_shares("classes", "class_", "busy_ns"))
    ]


def _class_result(part: Part, calls: Sequence[Any]) -> ClassResult:
    """A class with the work of its calls: rows of operators by shape, which belong to the class of most of their time."""
    flops, moved = sum(call.flops for call in calls), sum(call.bytes for call in calls)
    time_ns = sum(call.time_ns for call in calls)
    times: defaultdict[str, int] = defaultdict(int)
    for call in calls:
        times[call.bound] += call.time_ns
    ordered = sorted(times.items(), key=lambda item: -item[1])
    return ClassResult(
        name=part.name,
        share=part.share,
        flops=flops,
        bytes=moved,
        intensity=flops / moved if moved else None,
        bound_shares={bound: ns / time_ns for bound, ns in ordered if ns},
    )


def _roofline(seen: _Analyzed) -> Roofline:
    found = seen.middle.value("roofline")
    return Roofline(
        source=found.source,
        bandwidth_bytes_per_s=found.bandwidth_bytes_per_s,
        peak_flops=found.peak_flops,
        coverage=seen.range_of(lambda device: float(device.value("roofline").coverage)),
    )


def ridge_of(result: TaskResult) -> float | None:
    """FLOP per byte above which the task's data type is bound by compute; None where no peak is known."""
    key = dtype_key(str(result.arguments.get("dtype", "")))
    return result.roofline.ridge(key) if key else None
