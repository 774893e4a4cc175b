"""The two sides in one unit: sums that stay exact when they are divided, and the values of each sample.

Times are of one device. The unit is a step where both sides have steps that hold most of their windows, else the window: of one
trace, or the mean of several. Samples are the traces where there are enough of them to judge, else the steps. The first step of
a trace is no sample: its window begins with its first activity, so the time that it waited for that is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import polars as pl

from mmprof.analyzers.diff.sides import Side
from mmprof.analyzers.diff.significance import reason_of_silence

Unit: TypeAlias = Literal["window", "step", "trace"]
_RUNS_APART: Final = 1 << 32


@dataclass(frozen=True)
class Basis:
    """What the times of a diff are of.

    Attributes:
        unit: What one time is of.
        samples: What one sample is.
    """

    unit: Unit
    samples: Unit

    @classmethod
    def of(cls, before: Side, after: Side) -> Basis:
        """The basis on which two sides are compared."""
        runs, steps = max(before.runs, after.runs), before.has_steps and after.has_steps
        judged = runs > 1 and not reason_of_silence(before.runs, after.runs)
        window: Unit = "trace" if runs > 1 else "window"
        if not steps:
            return cls(window, window)
        return cls("step", "trace" if judged else "step")


@dataclass(frozen=True)
class Measured:
    """One side on a basis.

    Attributes:
        side: The side.
        basis: The basis.
        pieces: Pieces of all its windows, with `run`, and `row` for the kernel level.
    """

    side: Side
    basis: Basis
    pieces: pl.DataFrame

    @cached_property
    def units(self) -> int:
        """How many of the unit the sums are of: steps or windows, each of one device."""
        return self.side.steps if self.basis.unit == "step" else len(self.side.windows)

    @cached_property
    def sampled(self) -> pl.DataFrame:
        """The pieces with `sample`, numbered by time; the first step and what is outside all steps are in none."""
        whole = pl.when(pl.col("step") > 0).then("step")
        by_step = pl.col("run") * _RUNS_APART + whole
        sample = by_step if self.basis.samples == "step" else pl.col("run")
        numbered = self.pieces.with_columns(sample=sample.rank("dense").cast(pl.Int64) - 1)
        return numbered.filter(pl.col("sample").is_not_null())

    @cached_property
    def units_of_sample(self) -> list[int]:
        """How many of the unit each sample is of."""
        runs = dict(self.sampled.select("sample", "run").unique().iter_rows())
        of_run = Counter[int]()
        for window in self.side.windows:
            of_run[window.run] += self._weight(window.steps)
        return [of_run[runs[at]] for at in sorted(runs)]

    def _weight(self, steps: int) -> int:
        """Of how many units a sample's share of one window is."""
        return steps if (self.basis.unit, self.basis.samples) == ("step", "trace") else 1

    def sums(self, column: str) -> dict[str, tuple[int, int]]:
        """Time and number of pieces by a column; the times are divided by `units` and sum to `total_ns`."""
        rows = self.pieces.group_by(column).agg(pl.col("time_ns", "count").sum()).sort(column)
        keys, times, counts = (rows[name].to_list() for name in rows.columns)
        shares = apportion(times, self.units)
        return {key: (ns, n) for key, ns, n in zip(keys, shares, counts, strict=True)}

    @cached_property
    def total_ns(self) -> int:
        """Time of one unit, rounded."""
        return sum(apportion([int(self.pieces["time_ns"].sum())], self.units))

    def series(self, column: str) -> dict[str, tuple[int, ...]]:
        """The time of each sample by a column, in the order of time."""
        cells = self.sampled.group_by(column, "sample").agg(pl.col("time_ns").sum())
        units = self.units_of_sample
        values: dict[str, list[int]] = {}
        for key, sample, time_ns in cells.iter_rows():
            values.setdefault(key, [0] * len(units))[sample] = _rounded(time_ns, units[sample])
        return {key: tuple(each) for key, each in values.items()}


def measure(side: Side, basis: Basis, pieces: pl.DataFrame) -> Measured:
    """A side on a basis; `pieces` are those of `all_pieces` with their kernel's row."""
    return Measured(side, basis, pieces)


def all_pieces(side: Side) -> pl.DataFrame:
    """The pieces of all windows of a side, with `run`."""
    return pl.concat(w.pieces.with_columns(run=pl.lit(w.run, pl.Int64)) for w in side.windows)


def apportion(times: Sequence[int], parts: int) -> list[int]:
    """Each time divided by the number of parts, so that the shares sum to the rounded share of the sum.

    What rounding down leaves goes to the largest remainders (Hamilton's method); no share is a whole nanosecond off.
    """
    shares = [time // parts for time in times]
    missing = _rounded(sum(times), parts) - sum(shares)
    by_remainder = sorted(range(len(times)), key=lambda at: -(times[at] % parts))
    for at in by_remainder[:missing]:
        shares[at] += 1
    return shares


def padded(series: Mapping[str, tuple[int, ...]], key: str, samples: int) -> tuple[int, ...]:
    """The samples of a key; nothing but zeros where a side lacks it."""
    return series.get(key, (0,) * samples)


def _rounded(time_ns: int, parts: int) -> int:
    return (2 * time_ns + parts) // (2 * parts)
