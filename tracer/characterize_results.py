"""What a characterization found: the document `mmprof.characterization/1`, which needs no torch to read.

Times are seconds where they were measured without the profiler, nanoseconds where they come from a trace; shares are
fractions of 1. Fields are only ever added.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, field

from mmprof.analyzers.contract import struct_schema
from mmprof.analyzers.sidecar import Argument, DeviceFacts, HostFacts

SCHEMA: Final = "mmprof.characterization/1"

ORIGINS: Final = {
    "latency": "host clock around whole requests without the profiler: median of the runs, and an interval by order "
    "statistics that holds it with the probability coverage (95 % or more from six runs on)",
    "phases": "traces: share of the device window of all activities and gaps that a phase's spans launched; the column about is this "
    "share of the un-profiled median, as if the profiler slowed every phase alike",
    "idle": "traces: window minus busy, cut into causes; an upper bound, because the profiler slows the host",
    "classes": "traces: busy time by class of the kernels or operators",
    "bounds": "traces: least time by FLOPs and bytes of the shapes against the peaks; latency: it took more than ten times that",
    "intensity": "shapes in the traces: FLOPs over bytes, each operand read once and each result written once",
    "linear": "traces: busy time of linear operators by the names of the modules around them",
    "range": "the least and the largest of all recordings of a task; a share without a range is that of the recording whose "
    "window is the median",
}
"""Where the numbers of each part come from."""


class Range(Struct, frozen=True):
    """A number of several recordings.

    Attributes:
        value: That of the recording whose window is the median.
        low: The least of all recordings.
        high: The largest of all recordings.
    """

    value: float
    low: float
    high: float


class Latency(Struct, frozen=True):
    """How long a request, or a batch of them, takes without the profiler.

    Attributes:
        median_s: Median of the runs.
        low_s: Lower end of its interval.
        high_s: Upper end.
        coverage: The probability that the interval holds the median.
        runs: Number of runs.
        requests_per_s: Batch over median.
        tokens_per_s: Output tokens of the batch over median; None where the output is no tokens.
        slowdown: Time of the recorded run over median; None where recording ended before the run.
    """

    median_s: float
    low_s: float
    high_s: float
    coverage: float
    runs: int
    requests_per_s: float
    tokens_per_s: float | None
    slowdown: float | None


class PhaseResult(Struct, frozen=True):
    """One phase of a request.

    Attributes:
        phase: Its name; `other` is what lies outside all phases.
        count: Its instances.
        share: Share of the window.
        seconds: This share of the un-profiled median; None where only a part of the request was recorded.
        idle_share: Idle time in it, as a share of its time.
        instance_ns: Median time of an instance, under the profiler.
        class_shares: Share of its busy time by class, the largest first.
    """

    phase: str
    count: int
    share: Range
    seconds: float | None
    idle_share: Range
    instance_ns: int
    class_shares: dict[str, float]


class Part(Struct, frozen=True):
    """A named part of a whole.

    Attributes:
        name: Its name.
        share: Its share of the whole.
    """

    name: str
    share: Range


class ClassResult(Struct, frozen=True):
    """Busy time of one class.

    Attributes:
        name: Name of the class.
        share: Share of busy time.
        flops: Floating-point operations, as far as they are modelled.
        bytes: Bytes that must move, as far as they are modelled.
        intensity: flops / bytes; None without bytes.
        bound_shares: Share of its time by bound, the largest first.
    """

    name: str
    share: Range
    flops: int
    bytes: int
    intensity: float | None
    bound_shares: dict[str, float]


class Roofline(Struct, frozen=True):
    """The peaks that bounds rest on.

    Attributes:
        source: Where they come from; empty where no peaks are known.
        bandwidth_bytes_per_s: Memory bandwidth.
        peak_flops: FLOP/s by data type.
        coverage: Share of busy time whose FLOPs and bytes are known.
    """

    source: str
    bandwidth_bytes_per_s: int
    peak_flops: dict[str, int]
    coverage: Range

    def ridge(self, dtype: str) -> float | None:
        """FLOP per byte above which a data type's work is bound by compute; None where a peak is not known."""
        peak = self.peak_flops.get(dtype)
        return peak / self.bandwidth_bytes_per_s if peak and self.bandwidth_bytes_per_s else None


class TaskResult(Struct, frozen=True, kw_only=True):
    """One task of one family.

    Attributes:
        family: Name of the family.
        task: Name of the task.
        arguments: What was run, with all defaults filled in.
        parameters: Parameters of all models.
        kv_cache_bytes: Bytes of the key-value caches at the end of a request; None without one.
        steps: Decode or denoising steps; None without a loop.
        recordings: Traces that the ranges are of.
        load_average: Processes that wanted to run in the last minute; None where unknown.
        latency: Without the profiler.
        idle_share: Idle time as a share of the window.
        idle_causes: Share of the window by cause, the largest first.
        phases: By time, `other` last.
        classes: By time.
        bounds: Share of busy time by bound, the largest first.
        linear: Share of busy time of linear operators by where in the model they are.
        module_coverage: Share of busy time inside any module.
        roofline: What bounds rest on.
        notes: What a reader of the numbers should know.
    """

    family: str
    task: str
    arguments: dict[str, Argument]
    parameters: int | None
    kv_cache_bytes: int | None
    steps: int | None
    recordings: int
    load_average: float | None
    latency: Latency
    idle_share: Range
    idle_causes: list[Part]
    phases: list[PhaseResult]
    classes: list[ClassResult]
    bounds: list[Part]
    linear: list[Part]
    module_coverage: Range
    roofline: Roofline
    notes: list[str]

    @property
    def label(self) -> str:
        """Family and task."""
        return f"{self.family} {self.task}"


class SweepPoint(Struct, frozen=True):
    """One point of a sweep.

    Attributes:
        value: Length or batch.
        latency: Without the profiler.
        idle_share: Idle time as a share of the window, from one recording.
    """

    value: int
    latency: Latency
    idle_share: float


class Sweep(Struct, frozen=True):
    """A task with one of its arguments varied.

    Attributes:
        axis: `length` (of the input), `output` (length of it) or `batch`.
        family: Name of the family.
        task: Name of the task.
        points: By value.
    """

    axis: str
    family: str
    task: str
    points: list[SweepPoint]

    @property
    def label(self) -> str:
        """Family and task."""
        return f"{self.family} {self.task}"


class Skipped(Struct, frozen=True):
    """What was asked for and could not be measured.

    Attributes:
        what: Family, task, and the varied argument.
        reason: Why.
    """

    what: str
    reason: str


class Characterization(Struct, frozen=True, kw_only=True):
    """How a device runs the model families.

    Attributes:
        made_at: UTC, ISO 8601.
        size: Size of the models.
        dtype: Data type.
        device: The device.
        host: The machine.
        versions: Of everything that decides what runs.
        host_is_device: The main thread stands for the device: nothing that is said here of idle time holds for an accelerator.
        tasks: In the order of the families.
        sweeps: Those that were asked for.
        skipped: What could not be measured.
        origins: Where the numbers of each part come from.
    """

    schema: str = SCHEMA
    made_at: str
    size: str
    dtype: str
    device: DeviceFacts
    host: HostFacts
    versions: dict[str, str]
    host_is_device: bool
    tasks: list[TaskResult]
    sweeps: list[Sweep] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=lambda: dict(ORIGINS))


def characterization_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `mmprof.characterization/1`."""
    return struct_schema(Characterization, SCHEMA)
