"""Un-profiled runs: how long each took, their median and how sure it is."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

from mmprof.analyzers.sidecar import Timing
from mmprof.tracer.devices import synchronize

CONFIDENCE: Final = 0.95
METHOD: Final = (
    "order statistics: the narrowest symmetric pair whose binomial coverage is at least 95 %, else minimum and maximum "
    "(David and Nagaraja, Order Statistics, 3rd edition, section 7.1)"
)


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of one run on the host's clock, the device's work included."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def timed_runs(
    run: Callable[[], object], device: str, *, repeats: int, limit_s: float
) -> list[float]:
    """Seconds of each of `repeats` runs; of fewer, but one at least, where they would take longer than a limit."""
    runs: list[float] = []
    while len(runs) < repeats and sum(runs) + (min(runs) if runs else 0) <= limit_s:
        runs.append(timed(run, device))
    return runs


def summarized(runs_s: Sequence[float], warmup_s: Sequence[float]) -> Timing:
    """The runs with their median and its interval."""
    if not runs_s:
        return Timing(warmup_s=list(warmup_s))
    ordered = sorted(runs_s)
    rank, coverage = median_interval(len(ordered))
    return Timing(
        runs_s=list(runs_s),
        median_s=statistics.median(ordered),
        interval_s=(ordered[rank], ordered[-1 - rank]),
        coverage=coverage,
        method=METHOD,
        warmup_s=list(warmup_s),
    )


def median_interval(count: int) -> tuple[int, float]:
    """Which order statistics bound the median of a distribution, and how surely.

    The k-th smallest and the k-th largest of n samples hold the median with probability
    1 - 2 P(Binomial(n, 1/2) < k) (David and Nagaraja, Order Statistics, 3rd edition, section 7.1).

    Returns:
        k - 1, the largest with a probability of at least `CONFIDENCE` (0 where there is none), and the probability.
    """
    rank = 0
    while rank + 1 < count / 2 and _coverage(count, rank + 1) >= CONFIDENCE:
        rank += 1
    return rank, _coverage(count, rank)


def _coverage(count: int, rank: int) -> float:
    below = sum(math.comb(count, i) for i in range(rank + 1))
    return max(0.0, 1 - below / float(2 ** (count - 1)))
