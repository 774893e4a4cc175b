"""What pairs of runs say of a speedup: pure numbers, seeded."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1_000
MIN_PAIRS: Final = 6
"""The least pairs whose extremes hold the median with 95 %: 1 - 2 / 2**6 (David and Nagaraja, section 7.1)."""

_NORMAL_95: Final = 1.96
_EXACT_UP_TO: Final = 20


@dataclass(frozen=True, slots=True)
class Speedup:
    """How much faster one side is.

    Attributes:
        median: Median of the ratios of the pairs, the baseline's time over the other's.
        low: Lower end of its interval.
        high: Upper end.
    """

    median: float
    low: float
    high: float

    @property
    def precision(self) -> float:
        """Half of the interval's width, as a share of the median."""
        return (self.high - self.low) / 2 / self.median

    @property
    def noise(self) -> float:
        """The factor by which equal sides may differ beyond what their runs show, from one comparison of equal sides.

        What differs between two processes for as long as they live (the layout of their memory) is in the median of
        that comparison; 1.96 of it, on the logarithmic scale, stand for 95 %.
        """
        return math.exp(_NORMAL_95 * abs(math.log(self.median)))

    def widened(self, noise: float) -> Speedup:
        """The interval with such a factor added: independent errors add up as squares, here of logarithms."""
        below = math.hypot(math.log(self.median / self.low), math.log(noise))
        above = math.hypot(math.log(self.high / self.median), math.log(noise))
        return Speedup(self.median, self.median / math.exp(below), self.median * math.exp(above))


def speedup_of(baseline_s: Sequence[float], other_s: Sequence[float], *, seed: int) -> Speedup:
    """The median ratio of pairs of runs and its percentile bootstrap interval.

    Pairs are resampled, not runs: what both runs of a pair suffer from the machine cancels in their ratio (Efron and
    Tibshirani, An Introduction to the Bootstrap, chapter 13).

    Args:
        baseline_s: Seconds of the baseline's run of each pair.
        other_s: Seconds of the other side's run of each pair.
        seed: Seeds the resampling.
    """
    ratios = [a / b for a, b in zip(baseline_s, other_s, strict=True)]
    low, high = bootstrap_interval(ratios, seed=seed)
    return Speedup(statistics.median(ratios), low, high)


def bootstrap_interval(values: Sequence[float], *, seed: int) -> tuple[float, float]:
    """The percentile bootstrap interval of the median, with `CONFIDENCE`."""
    draw = random.Random(seed)  # noqa: S311  (no secret)
    medians = sorted(
        statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    outside = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[outside], medians[-1 - outside]


def mann_whitney_p(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p-value that two samples are of one distribution (Mann and Whitney, 1947).

    Exact up to 20 values a side without ties, by Mann and Whitney's recurrence; else the normal approximation with
    corrections for ties and continuity (Conover, Practical Nonparametric Statistics, section 5.1).
    """
    n, m = len(one), len(other)
    u = sum((a > b) + (a == b) / 2 for a in one for b in other)
    values = [*one, *other]
    if max(n, m) <= _EXACT_UP_TO and len(set(values)) == n + m:
        below = sum(_arrangements(n, m, k) for k in range(int(min(u, n * m - u)) + 1))
        return min(1.0, 2 * below / math.comb(n + m, n))
    return _normal_p(u, n, m, ties=[values.count(value) for value in set(values)])


@cache
def _arrangements(n: int, m: int, u: int) -> int:
    """Orders of n and m values whose U is `u`: the largest value is one of the n, and exceeds all m, or one of the m."""
    if u < 0:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return _arrangements(n - 1, m, u - m) + _arrangements(n, m - 1, u)


def _normal_p(u: float, n: int, m: int, *, ties: Sequence[int]) -> float:
    total = n + m
    tied = sum(t**3 - t for t in ties) / (total * (total - 1))
    deviation = math.sqrt(n * m / 12 * (total + 1 - tied))
    if deviation == 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / deviation
    return math.erfc(z / math.sqrt(2))
