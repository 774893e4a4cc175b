"""What `mmprof verify` finds: the document `mmprof.verification/1`."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from mmprof.analyzers.contract import struct_schema
from mmprof.analyzers.sidecar import Argument
from mmprof.tracer.lever import Exactness

SCHEMA: Final = "mmprof.verification/1"

Verdict: TypeAlias = Literal[
    "verified", "no gain", "slower", "outputs differ", "failed", "not applicable"
]
Clock: TypeAlias = Literal["cpu", "wall"]


class Baseline(Struct, frozen=True, kw_only=True):
    """The workload without levers.

    Attributes:
        runs_s: Seconds of one request, in the order of the runs.
        median_s: Their median.
        interval_s: 95 % bootstrap interval of the median.
        peak_bytes: Most memory during a request: of the process on a CPU, allocated on an accelerator; None where the
            system does not say.
        deterministic: Whether two runs gave equal bits.
        noise: Factor by which two processes that run the baseline may differ for as long as they live; the interval of
            each speedup is wider for it.
        idle_share: Idle time of a profiled request, as a share of its window; None where it was not recorded.
    """

    runs_s: list[float]
    median_s: float
    interval_s: tuple[float, float]
    peak_bytes: int | None
    deterministic: bool
    noise: float
    idle_share: float | None


class OutputCheck(Struct, frozen=True, kw_only=True):
    """How the outputs compare with the baseline's.

    Attributes:
        ok: Whether they keep the promise of the lever's exactness.
        detail: In words.
        relative_error: Largest relative L2 error of logits and floating-point outputs, for equal tokens before.
        agreement: Share of the logits whose largest is the baseline's.
        snr_db: Signal-to-noise ratio of that error.
        outputs_equal: Whether the outputs of free runs were equal in every bit.
    """

    ok: bool
    detail: str
    relative_error: float | None = None
    agreement: float | None = None
    snr_db: float | None = None
    outputs_equal: bool | None = None


class Predicted(Struct, frozen=True):
    """A predicted speedup.

    Attributes:
        low: At least.
        expected: Probably.
        high: At most.
    """

    low: float
    expected: float
    high: float


class LeverResult(Struct, frozen=True, kw_only=True):
    """A lever, alone.

    Attributes:
        lever: Its id.
        verdict: What came of it.
        reason: Why it failed or does not apply; empty otherwise.
        speedup: Median ratio of the pairs of runs, the baseline's time over the lever's; None where none was measured.
        interval: Its 95 % interval.
        p_value: Of the Mann-Whitney test of the runs, two-sided.
        pairs: Pairs of runs.
        runs_s: Seconds of one request under the lever, in the order of the runs.
        predicted: What a trace of the baseline predicts, its profiler's own cost unknown; None where it says nothing.
        exactness: What its outputs promise.
        output_check: Whether they keep it.
        setup_cost_s: Seconds until it runs steadily (compiling, quantizing, capturing), beyond what the baseline takes.
        pays_back_after_calls: Requests whose gain makes up for that; None where it never does.
        peak_bytes: As for the baseline.
        idle_share: As for the baseline.
    """

    lever: str
    verdict: Verdict
    exactness: Exactness
    reason: str = ""
    speedup: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    pairs: int = 0
    runs_s: list[float] = []
    predicted: Predicted | None = None
    output_check: OutputCheck | None = None
    setup_cost_s: float | None = None
    pays_back_after_calls: int | None = None
    peak_bytes: int | None = None
    idle_share: float | None = None


class Rung(Struct, frozen=True, kw_only=True):
    """Several levers together.

    Attributes:
        levers: Their ids, in the order in which they are applied.
        verdict: As for one lever.
        reason: As for one lever.
        speedup: As for one lever.
        interval: As for one lever.
        idle_share: As for one lever.
        exactness: The weakest of their promises.
        output_check: As for one lever.
    """

    levers: list[str]
    verdict: Verdict
    reason: str = ""
    speedup: float | None = None
    interval: tuple[float, float] | None = None
    idle_share: float | None = None
    exactness: Exactness
    output_check: OutputCheck | None = None


class Verification(Struct, frozen=True, kw_only=True):
    """What came of some levers on one workload.

    Attributes:
        workload: Its name and what was run: task, size, batch, seed, shapes.
        device: A torch device.
        device_name: As the driver or the operating system gives it.
        clock: `cpu` for the process's CPU time, on a CPU with one thread; else `wall`, the time until the device is done.
        threads: Threads of one operator.
        versions: Of everything that decides what runs.
        baseline: The workload without levers.
        levers: Each lever alone.
        ladder: The levers cumulated, in their order; empty for one lever.
    """

    schema: str = SCHEMA
    workload: dict[str, Argument]
    device: str
    device_name: str
    clock: Clock
    threads: int
    versions: dict[str, str]
    baseline: Baseline
    levers: list[LeverResult]
    ladder: list[Rung]


def verification_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `mmprof.verification/1`."""
    return struct_schema(Verification, SCHEMA)
