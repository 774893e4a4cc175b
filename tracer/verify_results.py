"""What `mmprof verify` finds: the document `mmprof.verification/1`."""

from __future__ import annotations

from collections.abc import Iterable
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


class RecordedRequest(Struct, frozen=True, kw_only=True):
    """Where the time of a request went that was recorded apart from all timing; the profiler's own cost is in it.

    Attributes:
        window_ns: First start to last end of the busiest device; on a CPU, of the main thread.
        classes_ns: Busy time by class of kernels; with `causes_ns` it sums to the window.
        causes_ns: Idle time by cause.
    """

    window_ns: int
    classes_ns: dict[str, int]
    causes_ns: dict[str, int]

    @property
    def idle_share(self) -> float:
        """Idle time, as a share of the window."""
        return sum(self.causes_ns.values()) / self.window_ns


class ChangedTime(Struct, frozen=True, kw_only=True):
    """A part of what two recorded requests differ in.

    Attributes:
        key: A class of kernels, or a cause of idle time.
        idle: Whether it is a cause of idle time.
        before_ns: Its time without the lever.
        after_ns: Its time with it.
        delta_ns: after_ns - before_ns.
    """

    key: str
    idle: bool
    before_ns: int
    after_ns: int
    delta_ns: int


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
        recorded: Where the time of that request went.
    """

    runs_s: list[float]
    median_s: float
    interval_s: tuple[float, float]
    peak_bytes: int | None
    deterministic: bool
    noise: float
    idle_share: float | None
    recorded: RecordedRequest | None = None


class QualityCheck(Struct, frozen=True):
    """A measure of quality, the lower the better.

    Attributes:
        name: What it is: "perplexity".
        before: Of the baseline.
        after: Under the lever.
        budget: By which share it may rise, or fall.
    """

    name: str
    before: float
    after: float
    budget: float

    @property
    def rise(self) -> float:
        """By which share it rose; negative where it fell."""
        return self.after / self.before - 1


class OutputCheck(Struct, frozen=True, kw_only=True):
    """How the outputs compare with the baseline's.

    Attributes:
        ok: Whether they keep the promise of the lever's exactness.
        detail: In words.
        relative_error: Largest relative L2 error of logits and floating-point outputs, for equal tokens before.
        agreement: Share of the logits whose largest is the baseline's.
        snr_db: Signal-to-noise ratio of that error.
        outputs_equal: Whether the outputs of free runs were equal in every bit.
        quality: What a lossy lever costs in quality, where the workload's models are real enough to tell.
        facts: What the lever tells of the compared request: its settings, how many drafts were right.
    """

    ok: bool
    detail: str
    relative_error: float | None = None
    agreement: float | None = None
    snr_db: float | None = None
    outputs_equal: bool | None = None
    quality: QualityCheck | None = None
    facts: dict[str, Argument] = {}


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
    """A lever, alone, or on top of others.

    Attributes:
        lever: Its id.
        on: Ids of the levers that were applied already; speedups are over these. Empty for the baseline.
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
        recorded: As for the baseline.
        changed: What that request and one without the lever differ in, the largest change first: the parts of a diff of
            their traces. Empty where one of the two was not recorded.
    """

    lever: str
    on: list[str] = []
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
    recorded: RecordedRequest | None = None
    changed: list[ChangedTime] = []


class Rung(Struct, frozen=True, kw_only=True):
    """Several levers together.

    Attributes:
        levers: Their ids, in the order in which they are applied.
        added: The lever that makes the difference to the rung below; empty where that is not told.
        verdict: As for one lever.
        reason: As for one lever.
        speedup: As for one lever.
        interval: As for one lever.
        predicted: As for one lever, for all of them together.
        idle_share: As for one lever.
        peak_bytes: As for one lever.
        exactness: The weakest of their promises.
        output_check: As for one lever.
        recorded: As for one lever.
        changed: As for one lever, against the rung below; of the first rung, against the baseline.
    """

    levers: list[str]
    added: str = ""
    verdict: Verdict
    reason: str = ""
    speedup: float | None = None
    interval: tuple[float, float] | None = None
    predicted: Predicted | None = None
    idle_share: float | None = None
    peak_bytes: int | None = None
    exactness: Exactness
    output_check: OutputCheck | None = None
    recorded: RecordedRequest | None = None
    changed: list[ChangedTime] = []


def step_names(ladder: Iterable[Rung]) -> list[str]:
    """What each rung changes of the one below: `+ sdpa`, or `+ fp16_weights - autoquant` where one takes another's place."""
    names, below = [], list[str]()
    for rung in ladder:
        left = [f" - {lever}" for lever in below if lever not in rung.levers]
        names.append(f"+ {rung.added}{''.join(left)}")
        below = rung.levers
    return names


class Untried(Struct, frozen=True):
    """A lever that a search did not measure.

    Attributes:
        lever: Its id.
        reason: Why not.
    """

    lever: str
    reason: str


class SearchFacts(Struct, frozen=True, kw_only=True):
    """How `mmprof optimize` came to its ladder.

    Attributes:
        conclusion: What it found, in a sentence.
        confirmed: Whether the last rung was measured a second time, in fresh processes; None where there is no rung.
        complete: Whether it looked at every lever before its budget ended.
        budget_s: Seconds that it was given.
        spent_s: Seconds that it took.
        measured: Comparisons that it rests on, the confirmation included.
        found_after: Comparisons after which the last rung was known; those that followed looked for more, or confirmed it.
        reused: Those of them that an earlier search had made.
        exhaustive: Comparisons that measuring every possible stack would have taken.
        best_exact: Ids of the largest rung whose outputs are equal up to rounding; empty where there is none.
        untried: Levers that were not measured.
        run: Name of what is kept of it: `mmprof runs`.
    """

    conclusion: str
    confirmed: bool | None
    complete: bool
    budget_s: float
    spent_s: float
    measured: int
    found_after: int = 0
    reused: int
    exhaustive: int
    best_exact: list[str]
    untried: list[Untried]
    run: str


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
        levers: Each lever alone; in a search, on top of those that had been kept.
        ladder: The levers cumulated, in their order; empty for one lever. In a search, those that were kept.
        search: How a search came to it; None where the levers were given.
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
    search: SearchFacts | None = None


def verification_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `mmprof.verification/1`."""
    return struct_schema(Verification, SCHEMA)
