"""The metrics of a device: what a condition of `mmprof check` can name, each with its unit and its samples."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.gate.numbers import BYTES, COUNT, NS, SHARE, numbers, rows_of, unit_of
from mmprof.analyzers.gate.samples import Steps
from mmprof.analyzers.idle import CAUSES

if TYPE_CHECKING:
    from mmprof.analyzers.contract import Json

CATALOG: Final[Mapping[str, tuple[str, str]]] = {
    "step_time": (NS, "median device time of a step"),
    "busy_time": (NS, "median time of a step in which the device was busy"),
    "idle_time": (NS, "median time of a step in which the device was idle"),
    "idle_share": (SHARE, "idle time of the window, as a share of it"),
    "window_time": (NS, "first start to last end of the device's work"),
    "launches": (COUNT, "median number of launch calls of a step"),
    "activities": (
        COUNT,
        "median number of kernels, copies and memsets (CPU: operators) of a step",
    ),
    "class.NAME.time": (
        NS,
        "median time of a step in kernels of a class, as in class.attention.time",
    ),
    "class.NAME.share": (SHARE, "time in kernels of a class, as a share of busy time"),
    "cause.NAME.time": (NS, "median idle time of a step with a cause, as in cause.python.time"),
    "cause.NAME.share": (SHARE, "idle time with a cause, as a share of the window"),
    "bound.NAME.share": (SHARE, "time of work with a bound, as a share of busy time"),
    "phase.NAME.time": (
        NS,
        "median time of an instance of a phase, the gap before it included, as in phase.decode.time",
    ),
    "peak_memory": (
        BYTES,
        "most memory that the allocator had handed out; needs a trace with memory events",
    ),
    "findings.SEVERITY": (COUNT, "findings of a severity: high, medium or low; findings: all"),
}
"""What there is, by name: unit and meaning. The numbers that `analyze --fail-on` knows come on top."""

_OF_STEP: Final = {
    "time_ns": "step_time",
    "busy_ns": "busy_time",
    "idle_ns": "idle_time",
    "activities": "activities",
    "launches": "launches",
}
STEP_METRICS: Final = tuple(_OF_STEP.values())
"""Metrics with a sample for each step, which every device has."""

_COUNTED: Final = ("activities", "launches")
_WHOLE: Final = {"class": "busy_time", "cause": "step_time"}
_SHARED: Final = ("class", "cause", "bound")
_HOST: Final = -1


class Metric(Struct, frozen=True, omit_defaults=True):
    """A number of a device.

    Attributes:
        unit: `ns`, `share` (of 1), `bytes` or `count`.
        value: What conditions are about; over several traces the median of their values.
        runs: The value in each trace, where there are several.
        samples: Per trace, one number for each step (for each instance of a phase); empty where there are none.
    """

    unit: str
    value: float
    runs: list[float] = []
    samples: list[list[float]] = []


class DeviceMetrics(Struct, frozen=True):
    """The metrics of one device of one rank.

    Attributes:
        rank: Rank of the process.
        device: Device index; -1 for the host of a trace without device activities.
        name: Name of the device.
        step: What a step is: `step` for the profiler's, a phase, or `window` where nothing repeats.
        steps: Number of steps in each trace.
        metrics: By name.
    """

    rank: int
    device: int
    name: str
    step: str
    steps: list[int]
    metrics: dict[str, Metric]

    def samples(self, name: str) -> list[list[float]]:
        """The samples of a metric, per trace; those of a share from the times that it is made of."""
        if name == "idle_share":
            return self._ratios("idle_time", "step_time")
        whole = _WHOLE.get(name.partition(".")[0])
        if whole and name.endswith(".share"):
            return self._ratios(f"{name.removesuffix('.share')}.time", whole)
        metric = self.metrics.get(name)
        if metric and metric.samples:
            return metric.samples
        of_steps = whole or name in STEP_METRICS
        return [[0.0] * steps for steps in self.steps] if of_steps else []  # what no step had

    def _ratios(self, part: str, whole: str) -> list[list[float]]:
        both = zip(self.samples(part), self.samples(whole), strict=True)
        return [[p / w if w else 0.0 for p, w in zip(*run, strict=True)] for run in both]


def device_metrics(document: Json, steps: Steps, phases: Sequence[Steps]) -> DeviceMetrics:
    """The metrics of the one device of a document.

    Args:
        document: An `mmprof.analysis/1` document with one device.
        steps: The device's steps.
        phases: The instances of each phase.
    """
    (device,) = document["devices"]
    found = dict(_of_steps(steps))
    found |= {f"phase.{phase.name}.time": _sampled(phase.columns["time_ns"]) for phase in phases}
    found |= {"window_time": Metric(NS, device["window_ns"]), **_peak_memory(document, device)}
    for name, value in numbers(document, device).items():
        found[canonical(name)] = Metric(unit_of(name), value)
    return DeviceMetrics(
        device["rank"], device["device"], device["name"], steps.name, [steps.count], found
    )


def canonical(name: str) -> str:
    """`class:linear` under the name that it has as a metric, `class.linear.share`; other names as they are."""
    prefix, colon, key = name.partition(":")
    return f"{prefix}.{key}.share" if colon and prefix in _SHARED else name


def merged(same: Sequence[DeviceMetrics]) -> DeviceMetrics:
    """The metrics of a device over several traces of the same work; what not all of them have is left out."""
    if len(same) == 1:
        return same[0]
    first = same[0]
    names = [name for name in first.metrics if all(name in other.metrics for other in same)]
    metrics = {name: _over_runs(name, same) for name in names}
    steps = [count for d in same for count in d.steps]
    return DeviceMetrics(first.rank, first.device, first.name, first.step, steps, metrics)


def _over_runs(name: str, same: Sequence[DeviceMetrics]) -> Metric:
    metrics = [device.metrics[name] for device in same]
    runs = [metric.value for metric in metrics]
    sampled = any(metric.samples for metric in metrics)
    samples = [run for device in same for run in device.samples(name)] if sampled else []
    return Metric(metrics[0].unit, statistics.median(runs), runs, samples)


def _of_steps(steps: Steps) -> Iterator[tuple[str, Metric]]:
    for column, name in _OF_STEP.items():
        yield name, _sampled(steps.columns[column], COUNT if column in _COUNTED else NS)
    for kind in (*(f"class.{c}" for c in CLASSES), *(f"cause.{c}" for c in CAUSES)):
        yield f"{kind}.time", _sampled(steps.columns.get(kind, ()))


def _sampled(samples: Sequence[int], unit: str = NS) -> Metric:
    """The median of samples; they are left out where all are 0."""
    kept: list[list[float]] = [list(samples)] if any(samples) else []
    return Metric(unit, statistics.median(samples) if kept else 0, samples=kept)


def _peak_memory(document: Json, device: Mapping[str, Any]) -> dict[str, Metric]:
    on_host = device["device"] == _HOST
    rows = rows_of(document["memory"], device)
    peaks = [row["peak_bytes"] for row in rows if (row["device_type"] == "cpu") == on_host]
    return {"peak_memory": Metric(BYTES, max(peaks))} if peaks else {}
