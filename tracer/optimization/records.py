"""What a search keeps on disk: one record a line, in the order in which they were made."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from mmprof.analyzers.sidecar import Argument
from mmprof.tracer.verify_results import Clock, OutputCheck, RecordedRequest, Verification
from mmprof.tracer.verify_statistics import Speedup


class Begun(Struct, frozen=True, tag=True, kw_only=True):
    """A search began, or went on.

    Attributes:
        at: When, UTC in ISO 8601.
        asked: What was asked for, as the command line has it.
        workload: What is run: its name, task, size, batch, seed, shapes.
        device: A torch device.
        device_name: As the driver or the operating system gives it.
        clock: What requests are timed with.
        threads: Threads of one operator.
        versions: Of everything that decides what runs.
        inapplicable: Why levers do not apply, by their names.
        failed: Why it could not be told whether others do: they raised, ended the process, or gave no answer.
    """

    at: str
    asked: str
    workload: dict[str, Argument]
    device: str
    device_name: str
    clock: Clock
    threads: int
    versions: dict[str, str]
    inapplicable: dict[str, str]
    failed: dict[str, str] = {}


class BaselineMeasured(Struct, frozen=True, tag=True, kw_only=True):
    """The workload without levers was compared with itself.

    Attributes:
        deterministic: Whether two of its runs gave equal bits.
        repeatable: Whether a second process gave the same outputs, up to rounding.
        runs_s: Seconds of one request, in the order of the runs.
        noise: Factor by which two processes that run it may differ.
        peak_bytes: Most memory during a request; None where the system does not say.
    """

    deterministic: bool
    repeatable: OutputCheck
    runs_s: list[float]
    noise: float
    peak_bytes: int | None


class Ratio(Struct, frozen=True):
    """How many times faster one side is than another.

    Attributes:
        median: Median of the ratios of the pairs.
        low: Lower end of its 95 % interval, without what equal processes differ.
        high: Upper end.
    """

    median: float
    low: float
    high: float

    def widened(self, noise: float) -> Speedup:
        """The speedup, its interval wider by the factor that equal processes may differ by."""
        return Speedup(self.median, self.low, self.high).widened(noise)


class Compared(Struct, frozen=True, tag=True, kw_only=True):
    """A stack was run beside the baseline and beside the stack that it was made from.

    Attributes:
        stack: Names of its levers, in the order in which they are applied.
        on: The stack that it was made from; empty for the baseline.
        budget: The largest relative error that it was allowed.
        fresh: Whether this is the confirmation of a stack that was measured before.
        took_s: Seconds that it took, all in all.
        failure: Why there is no measurement; empty where there is one.
        inapplicable: Whether that is because a lever does not apply.
        timed_out: Whether it is because there was no answer in time; a later search, with more time, tries again.
        check: How its outputs compare with the baseline's.
        total: Over the baseline; None where the outputs differ.
        gain: Over the stack that it was made from.
        p_value: Of the Mann-Whitney test of its runs and those of that stack.
        baseline_s: Seconds of one request without levers, in the order of the runs.
        on_s: The same for the stack that it was made from.
        runs_s: The same for this stack.
        setup_cost_s: Seconds until it runs steadily, beyond what the baseline takes.
        peak_bytes: Most memory during a request.
    """

    stack: list[str]
    on: list[str]
    budget: float
    fresh: bool = False
    took_s: float = 0.0
    failure: str = ""
    inapplicable: bool = False
    timed_out: bool = False
    check: OutputCheck | None = None
    total: Ratio | None = None
    gain: Ratio | None = None
    p_value: float | None = None
    baseline_s: list[float] = []
    on_s: list[float] = []
    runs_s: list[float] = []
    setup_cost_s: float | None = None
    peak_bytes: int | None = None


class RequestSeen(Struct, frozen=True, tag=True, kw_only=True):
    """A request of a stack was recorded.

    Attributes:
        stack: Names of its levers; empty for the baseline.
        recorded: Where its time went.
    """

    stack: list[str]
    recorded: RecordedRequest


class Concluded(Struct, frozen=True, tag=True, kw_only=True):
    """A search came to its end.

    Attributes:
        at: When, UTC in ISO 8601.
        document: What it found.
    """

    at: str
    document: Verification


Record: TypeAlias = Begun | BaselineMeasured | Compared | RequestSeen | Concluded
