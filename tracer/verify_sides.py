"""The sides of a comparison: processes that are ready to run, and their requests in alternation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmprof.tracer.lever import Exactness, Lever
from mmprof.tracer.order import Subject
from mmprof.tracer.verify_messages import (
    Compare,
    Compared,
    FindPeak,
    KeepReference,
    Kept,
    Measure,
    Peak,
    Prepare,
    Prepared,
    Profile,
    Profiled,
    Record,
    Recorded,
    Timed,
)
from mmprof.tracer.verify_results import OutputCheck
from mmprof.tracer.verify_statistics import MIN_PAIRS, Speedup, speedup_of
from mmprof.tracer.verify_trial import TrialProcess, never

SAMPLE_S: Final = 0.02
"""A sample is as many requests as take about this long: the least that a clock and a cold cache do not matter for."""

LOOK_EVERY: Final = 4
"""Between two looks at the intervals, the runs grow by this part: each look costs as much as a run of a small model."""

_WEAKEST_LAST: Final[tuple[Exactness, ...]] = (
    "identical",
    "reassociation",
    "distribution",
    "lossy",
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much measuring may cost.

    Attributes:
        precision: Half of the interval of a speedup, as a share of it, at which measuring ends.
        max_time_s: Seconds after which it ends anyway, for each comparison, once it has `MIN_PAIRS` pairs.
        limit_s: Seconds that any step of a trial may take: building, compiling, a request.
        threads: Threads of one operator; 0 for torch's default.
        seed: Seeds the bootstrap.
    """

    precision: float = 0.02
    max_time_s: float = 30.0
    limit_s: float = 600.0
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Combination:
    """Levers that are applied together.

    Attributes:
        levers: By the names that the user gave them, in the order in which they are applied.
    """

    levers: dict[str, Lever]

    @property
    def names(self) -> list[str]:
        """What the user calls them."""
        return list(self.levers)

    @property
    def ids(self) -> list[str]:
        """Their stable names."""
        return [lever.id for lever in self.levers.values()]

    @property
    def exactness(self) -> Exactness:
        """The weakest promise."""
        found: list[Exactness] = [lever.exactness for lever in self.levers.values()]
        return max(found, key=_WEAKEST_LAST.index, default="identical")

    @property
    def budget(self) -> float:
        """The largest relative error that they may make together."""
        return sum(lever.budget for lever in self.levers.values())


@dataclass(frozen=True, slots=True)
class Side:
    """A process that is ready to run."""

    process: TrialProcess
    ready: Prepared

    @property
    def steady_s(self) -> float:
        """Seconds of a request, on the host's clock."""
        return min(self.ready.warmup_s)

    @property
    def overhead_s(self) -> float:
        """What came before it ran steadily."""
        warmups = self.ready.warmup_s
        return self.ready.apply_s + sum(warmups) - len(warmups) * self.steady_s

    def seconds(self, calls: int) -> float:
        """Seconds of one request, as the mean of some."""
        return self.process.ask(Measure(calls), Timed).seconds / calls

    def keep_reference(self, path: Path, levers: Iterable[Lever] = ()) -> bool:
        """Write its outputs to a file, as the levers need them; whether two of its runs gave equal bits."""
        draws = any(lever.exactness == "distribution" for lever in levers)
        return self.process.ask(KeepReference(str(path), draws), Kept).deterministic

    def compare(self, reference: Path, exactness: Exactness, budget: float) -> OutputCheck:
        """Its outputs against those of a file."""
        return self.process.ask(Compare(str(reference), exactness, budget), Compared).check

    def peak_bytes(self) -> int | None:
        """Most memory during a request; None where the system does not say."""
        return self.process.ask(FindPeak(), Peak).bytes

    def record(self, trace: Path) -> None:
        """Record a request as `mmprof trace` does."""
        self.process.ask(Record(str(trace)), Recorded)

    def profile(self, trace: Path) -> None:
        """Record a request; the last that a process is asked for, because profilers leave traces."""
        self.process.ask(Profile(str(trace)), Profiled)


@contextmanager
def opened(
    subject: Subject,
    names: Sequence[str],
    effort: Effort,
    *,
    deadline: Callable[[], float] = never,
) -> Iterator[Side]:
    """A process that runs a workload under some levers, warmed up.

    Args:
        subject: The workload.
        names: What the user calls the levers, in the order in which they are applied.
        effort: How long it may take.
        deadline: The instant of the monotonic clock by which any answer must be there.

    Raises:
        TrialEndedError: It cannot be made.
    """
    asked = Prepare(
        family=subject.family.name if subject.family else "",
        target=subject.target,
        folder=str(subject.folder) if subject.folder else "",
        wish=subject.wish,
        device=subject.device,
        levers=list(names),
        threads=effort.threads,
    )
    with TrialProcess(effort.limit_s, deadline) as process:
        yield Side(process, process.ask(asked, Prepared))


def alternated(sides: Sequence[Side], effort: Effort) -> list[list[float]]:
    """Run the sides in turn, in flipped order every other time, until the last one's speedup over each is known well enough.

    Returns:
        Seconds of one request, by side, in the order of the runs.
    """
    calls = max(1, round(SAMPLE_S / min(side.steady_s for side in sides)))
    start = time.monotonic()
    runs: list[list[float]] = [[] for _ in sides]
    look_at = MIN_PAIRS
    while True:
        for turn in (list(range(len(sides))), list(reversed(range(len(sides))))):
            for at in turn:
                runs[at].append(sides[at].seconds(calls))
        count = len(runs[0])
        if count < look_at:
            continue
        if time.monotonic() - start > effort.max_time_s or _known(runs, effort):
            return runs
        look_at = count + max(2, count // LOOK_EVERY)


def _known(runs: Sequence[Sequence[float]], effort: Effort) -> bool:
    *others, last = runs
    return all(speedup(other, last, effort).precision <= effort.precision for other in others)


def speedup(slow_s: Sequence[float], fast_s: Sequence[float], effort: Effort) -> Speedup:
    """How much faster the second of two sides is, by their runs in alternation."""
    return speedup_of(slow_s, fast_s, seed=effort.seed)
