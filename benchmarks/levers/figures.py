"""Figures of the page: how far predictions were off, and means of stacks over families. Pure numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from mmprof.tracer.optimization.search import EXACT
from mmprof.tracer.verify_results import Predicted
from mmprof.tracer.verify_statistics import Speedup

if TYPE_CHECKING:
    from mmprof.tracer.verify_results import Rung, Verification


@dataclass(frozen=True, slots=True)
class Checked:
    """A predicted speedup and the measured one.

    Attributes:
        where: The workload.
        lever: Its id.
        predicted: What was predicted.
        measured: What was measured.
    """

    where: str
    lever: str
    predicted: Predicted
    measured: Speedup

    @property
    def off(self) -> float:
        """How far the expected speedup is from the measured one, as a share of the measured one."""
        return abs(self.predicted.expected - self.measured.median) / self.measured.median

    @property
    def gain_off(self) -> float | None:
        """The same of the gains, which are the speedups less one.

        None where the interval of the measured speedup holds 1: nothing is a share of a gain that may be nothing.
        """
        if self.measured.low <= 1 <= self.measured.high:
            return None
        difference = abs(self.predicted.expected - self.measured.median)
        return difference / abs(self.measured.median - 1)

    @property
    def is_within(self) -> bool:
        """Whether the measured interval meets the range from low to high."""
        return self.measured.high >= self.predicted.low and self.measured.low <= self.predicted.high


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good some predictions were.

    Attributes:
        count: How many there are.
        off: Median of `Checked.off`.
        gains: Those whose measured gain is known to be one, or a loss.
        gain_off: Median of their `Checked.gain_off`; None without any.
        within: Predictions whose range meets the measured interval.
    """

    count: int
    off: float
    gains: int
    gain_off: float | None
    within: int


def accuracy(checked: Sequence[Checked]) -> Accuracy:
    """Of at least one prediction."""
    gains = [c.gain_off for c in checked if c.gain_off is not None]
    return Accuracy(
        count=len(checked),
        off=median(c.off for c in checked),
        gains=len(gains),
        gain_off=median(gains) if gains else None,
        within=sum(c.is_within for c in checked),
    )


def accuracy_by_lever(checked: Iterable[Checked]) -> dict[str, Accuracy]:
    """The same by lever, the worst median first."""
    found: dict[str, list[Checked]] = defaultdict(list)
    for each in checked:
        found[each.lever].append(each)
    judged = {lever: accuracy(some) for lever, some in found.items()}
    return dict(sorted(judged.items(), key=lambda item: -item[1].off))


def geometric_mean(speedups: Sequence[Speedup]) -> Speedup:
    """Of independent speedups: errors of logarithms add up as squares, and are divided by the count."""
    middle = fmean(math.log(s.median) for s in speedups)
    below = math.hypot(*(math.log(s.median / s.low) for s in speedups)) / len(speedups)
    above = math.hypot(*(math.log(s.high / s.median) for s in speedups)) / len(speedups)
    return Speedup(math.exp(middle), math.exp(middle - below), math.exp(middle + above))


def mean_over_families(speedups: Iterable[tuple[str, Speedup]]) -> Speedup:
    """The geometric mean over families, where the geometric mean of its tasks stands for each.

    Args:
        speedups: Of tasks, each with its family's name.
    """
    tasks: dict[str, list[Speedup]] = defaultdict(list)
    for family, speedup in speedups:
        tasks[family].append(speedup)
    return geometric_mean([geometric_mean(some) for some in tasks.values()])


def best_exact(found: Verification) -> Rung | None:
    """The highest rung whose outputs are equal up to rounding; None where there is none."""
    return next((rung for rung in reversed(found.ladder) if rung.exactness in EXACT), None)


def best(found: Verification) -> Rung | None:
    """The highest rung; None where nothing helped."""
    return found.ladder[-1] if found.ladder else None


def speedup_of(rung: Rung | None) -> Speedup:
    """What a rung gains; a stack of no levers gains nothing, exactly."""
    if rung is None or rung.speedup is None or rung.interval is None:
        return Speedup(1.0, 1.0, 1.0)
    return Speedup(rung.speedup, *rung.interval)
