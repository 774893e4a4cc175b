"""What pairs of runs say of a speedup: pure numbers, seeded."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmprof.analyzers.statistics import mann_whitney_p

__all__ = [
    "CONFIDENCE",
    "MIN_PAIRS",
    "RESAMPLES",
    "Speedup",
    "bootstrap_interval",
    "mann_whitney_p",
    "noise_of",
    "speedup_of",
]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1_000
MIN_PAIRS: Final = 6
"""The least pairs whose extremes hold the median with 95 %: 1 - 2 / 2**6 (David and Nagaraja, section 7.1)."""

TWINS: Final = 3
"""Processes of the baseline that are compared with the first one: with one alone, chance makes the noise look small too often."""

_NORMAL_95: Final = 1.96
_STUDENT_95: Final = 3.182
"""Student's quantile for `TWINS` values whose mean is known: equal sides have a ratio of 1."""


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


def noise_of(equal: Sequence[Speedup]) -> float:
    """The factor by which equal sides may differ beyond what their runs show, from `TWINS` comparisons of equal sides.

    Args:
        equal: The comparisons, each with another process.
    """
    squares = [math.log(each.median) ** 2 for each in equal]
    return math.exp(_STUDENT_95 * math.sqrt(statistics.fmean(squares)))


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
