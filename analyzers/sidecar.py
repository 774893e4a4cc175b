"""The sidecar of a trace: what the tracer knows and the trace does not say.

`t.json.gz.mmprof.json` stands beside `t.json.gz`. Times are seconds on the host's clock, sizes bytes, rates per second.
Fields are only ever added; a reader ignores those it does not know.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct, field

from mmprof.analyzers.errors import MmprofError

SCHEMA: Final = "mmprof.sidecar/1"
SUFFIX: Final = ".mmprof.json"

Argument: TypeAlias = str | int | float | bool


class DeviceFacts(Struct, frozen=True):
    """The device that the workload ran on.

    Attributes:
        type: `cpu`, `cuda` (ROCm too), `xpu`.
        name: As the driver or the operating system gives it.
        count: Devices of this type that the process saw.
        memory_bytes: Memory of one of them; for `cpu` that of the machine.
    """

    type: str
    name: str = ""
    count: int = 1
    memory_bytes: int | None = None


class HostFacts(Struct, frozen=True):
    """The machine.

    Attributes:
        cpu: Model of the processor.
        cores: Logical cores that the process may use.
        threads: Threads of one operator, as torch was set.
        load_average: Processes that wanted to run in the last minute, when recording began; None where unknown.
    """

    cpu: str = ""
    cores: int = 0
    threads: int = 0
    load_average: float | None = None


class Ceiling(Struct, frozen=True):
    """A rate that the device was measured to reach.

    Attributes:
        name: `copy`, `gemv` or `matmul`.
        dtype: A key of `devices.DTYPE_KEYS`.
        per_second: The best of all runs: bytes (`copy`, `gemv`) or floating-point operations (`matmul`).
        unit: `bytes` or `flops`.
        method: What was run, with its sizes and the number of runs.
        load_average: Processes that wanted to run meanwhile; None where unknown.
        measured_at: UTC, ISO 8601; the recording may be later, since measurements are kept.
    """

    name: str
    dtype: str
    per_second: float
    unit: str
    method: str
    load_average: float | None = None
    measured_at: str = ""


class WorkloadFacts(Struct, frozen=True):
    """What was run.

    Attributes:
        name: A family, `module:function`, a model's folder or a command.
        arguments: With all defaults filled in: task, size, shapes, lengths, seed.
        parameters: Parameters of all models; None where the models are unknown.
        parameter_bytes: Bytes of these.
        kv_cache_bytes: Bytes of the key-value caches at the end of a request; None without one.
        steps: Decode steps of a request; None without a loop.
    """

    name: str
    arguments: dict[str, Argument] = field(default_factory=dict)
    parameters: int | None = None
    parameter_bytes: int | None = None
    kv_cache_bytes: int | None = None
    steps: int | None = None


class Timing(Struct, frozen=True):
    """How long one run took, without and with the profiler.

    Attributes:
        runs_s: Every un-profiled run, in the order of the runs; empty where there were none.
        median_s: Their median.
        interval_s: A confidence interval of the median.
        coverage: The probability that the interval holds the median.
        method: How the interval was computed.
        warmup_s: Every run before those.
        profiled_s: The profiled run, until recording ended.
        profiled_whole: Whether recording lasted until the run's end.
    """

    runs_s: list[float] = field(default_factory=list)
    median_s: float | None = None
    interval_s: tuple[float, float] | None = None
    coverage: float | None = None
    method: str = ""
    warmup_s: list[float] = field(default_factory=list)
    profiled_s: float | None = None
    profiled_whole: bool = True


class ProfilerOptions(Struct, frozen=True):
    """How torch.profiler was set.

    Attributes:
        activities: `CPU`, `CUDA`, `XPU`.
        shapes: Shapes, types and arguments of operators.
        stacks: Python frames.
        memory: Allocations.
        modules: Annotations of modules.
    """

    activities: tuple[str, ...] = ()
    shapes: bool = True
    stacks: bool = False
    memory: bool = False
    modules: bool = True


class Failure(Struct, frozen=True):
    """What ended the run early.

    Attributes:
        type: Class of the exception.
        message: Its text.
    """

    type: str
    message: str


class Sidecar(Struct, frozen=True, kw_only=True):
    """Everything about one recording.

    Attributes:
        trace: File name of the trace.
        recorded_at: UTC, ISO 8601.
        rank: Rank of the process; None outside distributed runs.
        versions: Of python, torch, transformers, mmprof, CUDA or ROCm where present.
        ceilings: Measured on this machine; empty where they were not asked for.
        notes: What a reader of the numbers should know.
        error: What ended the run; None for a run that ended well.
    """

    schema: str = SCHEMA
    trace: str
    recorded_at: str
    workload: WorkloadFacts
    device: DeviceFacts
    host: HostFacts
    versions: dict[str, str]
    timing: Timing
    profiler: ProfilerOptions
    rank: int | None = None
    ceilings: list[Ceiling] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: Failure | None = None

    def ceiling(self, name: str, dtype: str = "fp32") -> float | None:
        """A measured rate per second; None where it was not measured."""
        found = (c.per_second for c in self.ceilings if (c.name, c.dtype) == (name, dtype))
        return next(found, None)


def sidecar_path(trace: str | PathLike[str]) -> Path:
    """Where the sidecar of a trace is."""
    path = Path(trace)
    return path.with_name(path.name + SUFFIX)


def read_sidecar(trace: str | PathLike[str]) -> Sidecar | None:
    """The sidecar of a trace; None where it has none.

    Raises:
        MmprofError: There is one that cannot be read.
    """
    path = sidecar_path(trace)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Sidecar)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    if found.schema != SCHEMA:
        raise _unreadable(path, f"schema {found.schema!r}")
    return found


def _unreadable(path: Path, found: str) -> MmprofError:
    return MmprofError(
        "MM-E059",
        f"the sidecar {path.name} cannot be read",
        found=found,
        hint="remove it: the trace is complete without it",
    )
