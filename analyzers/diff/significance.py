"""Which rows of two traces differ by more than their noise."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, count
from operator import mul
from statistics import NormalDist, median
from typing import Final, NamedTuple

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from mmprof.analyzers.statistics import false_discovery_p, least_p, mann_whitney_p

ERROR_RATE: Final = 0.05
POWER: Final = 0.8
"""The chance of finding a change as large as `detectable_ns`: Cohen's convention (Statistical Power Analysis, 1988)."""

RESAMPLES: Final = 200
"""Enough for a standard error (Efron and Tibshirani, An Introduction to the Bootstrap, section 6.4)."""

_TIED_EXACT_UP_TO: Final = 10
_NORMAL: Final = NormalDist()


class Series(Struct, frozen=True):
    """The samples of one row, in the order of time.

    Attributes:
        before_ns: One value per step, or per trace, of the side before.
        after_ns: The same of the side after.
    """

    before_ns: tuple[int, ...]
    after_ns: tuple[int, ...]


class Judged(Struct, frozen=True):
    """What the samples say of one row.

    Attributes:
        delta_ns: Median after minus median before.
        low_ns: Lower end of its 95 % interval; `delta_ns` itself where a side has one sample.
        high_ns: Upper end.
        p: The chance of such a difference where nothing changed, corrected for the number of rows of the level. None
            where no difference, however large, could be told from chance.
        significant: The corrected `p` is at most 5 % and the interval leaves 0 out. None: too few samples to say.
        detectable_ns: The change that would be found in four of five repeats. None: none would.
    """

    delta_ns: int
    low_ns: int
    high_ns: int
    p: float | None
    significant: bool | None
    detectable_ns: int | None


class _Spread(NamedTuple):
    """Interval and standard error of a difference of medians."""

    low_ns: float
    high_ns: float
    error_ns: float


class _Measured(NamedTuple):
    """One row by itself.

    `p` is not yet corrected, and None where no difference could be told from chance. `inflation` is the variance of the
    test over its variance with independent samples, as the row itself shows it.
    """

    delta_ns: float
    spread: _Spread
    p: float | None
    inflation: float


def judge(
    rows: Mapping[tuple[str, str], Series], *, seed: int = 0
) -> dict[tuple[str, str], Judged]:
    """Say of each row whether it changed.

    Rows of one level are one family: p-values are corrected in it by Benjamini and Hochberg (1995), so that of the rows
    that a level calls changed at most 5 % are not. That holds for what the samples show: where both sides are one trace
    each, what differs between two runs for as long as they last is called changed as well (docs/significance.md).

    Args:
        rows: The samples by level and key of the row.
        seed: Seeds the resampling.
    """
    measured = _measure(list(dict.fromkeys(rows.values())), seed=seed)
    levels: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in rows:
        levels[key[0]].append(key)
    judged: dict[tuple[str, str], Judged] = {}
    for keys in levels.values():
        judged.update(zip(keys, _judge_level([rows[key] for key in keys], measured), strict=True))
    return {key: judged[key] for key in rows}


def reason_of_silence(n_before: int, n_after: int, *, rows: int = 1) -> str:
    """Why no verdict can be given, in words; empty where one can.

    Args:
        n_before: Samples before.
        n_after: Samples after.
        rows: Rows of the level, any one of which shall be able to be called changed by itself.
    """
    if _can_tell(n_before, n_after, rows):
        return ""
    needed = next(n for n in count(1) if _can_tell(n, n, rows))
    among = "" if rows == 1 else f" of one in {rows:,} rows"
    return (
        f"too few samples: {n_before} before and {n_after} after; a change{among} can be told from"
        f" chance with {needed} or more on each side"
    )


def _can_tell(n_before: int, n_after: int, rows: int) -> bool:
    return least_p(n_before, n_after) * rows <= ERROR_RATE


def _judge_level(level: Sequence[Series], measured: Mapping[Series, _Measured]) -> list[Judged]:
    """Correct the p-values of one level's rows together."""
    tested = [(m.p, m.inflation) for m in map(measured.__getitem__, level) if m.p is not None]
    corrected = iter(false_discovery_p(_dependent_ps(tested)))
    return [
        _unjudged(measured[series])
        if measured[series].p is None
        else _judged(series, measured[series], p=next(corrected), rows=len(tested))
        for series in level
    ]


def _dependent_ps(tested: Sequence[tuple[float, float]]) -> list[float]:
    """P-values of a level's rows and their inflations, as p-values that hold for dependent samples.

    What few steps show of dependence is mostly chance, and what drifts, drifts for all rows: so half of the inflation is
    taken from the row and half from the mean of its level.
    """
    common = sum(inflation for _, inflation in tested) / max(1, len(tested))
    return [_inflated(p, max(1.0, (inflation + common) / 2)) for p, inflation in tested]


def _inflated(p: float, inflation: float) -> float:
    """The p-value of the same deviation where its variance is so many times as large."""
    if inflation == 1 or p in {0, 1}:
        return p
    return 2 * _NORMAL.cdf(_NORMAL.inv_cdf(p / 2) / math.sqrt(inflation))


def _unjudged(measured: _Measured) -> Judged:
    low_ns, high_ns, _ = measured.spread
    ends = round(measured.delta_ns), math.floor(low_ns), math.ceil(high_ns)
    return Judged(*ends, p=None, significant=None, detectable_ns=None)


def _judged(series: Series, measured: _Measured, *, p: float, rows: int) -> Judged:
    """A row whose corrected p-value is known; one of too few samples is still changed where its level as a whole is."""
    silent = _unjudged(measured)
    changed = p <= ERROR_RATE and not silent.low_ns <= 0 <= silent.high_ns
    sizes = len(series.before_ns), len(series.after_ns)
    alone = _can_tell(*sizes, rows)
    detectable = _detectable(measured.spread.error_ns, sum(sizes) - 2, rows) if alone else None
    return replace(
        silent,
        p=p,
        significant=changed if changed or alone else None,
        detectable_ns=None if detectable is None else math.ceil(detectable),
    )


def _detectable(error_ns: float, freedom: int, rows: int) -> float:
    """The change of one row that is found with `POWER` where all others stay.

    Bloom, Minimum detectable effects, Evaluation Review 19 (1995): the quantiles of the error rate and of the power,
    added, in standard errors. One changed row among many must pass the strictest step of the correction.
    """
    found = _t_quantile(1 - ERROR_RATE / 2 / rows, freedom), _t_quantile(POWER, freedom)
    return error_ns * sum(found)


def _t_quantile(probability: float, freedom: int) -> float:
    """Student's quantile, by its expansion around the normal one (Abramowitz and Stegun, 26.7.5, two terms)."""
    z = _NORMAL.inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _measure(series: Sequence[Series], *, seed: int) -> dict[Series, _Measured]:
    """Measure rows, those with equally many samples at once."""
    by_shape: dict[tuple[int, int], list[Series]] = defaultdict(list)
    for each in series:
        by_shape[len(each.before_ns), len(each.after_ns)].append(each)
    return {
        each: _measured(each, spread)
        for alike in by_shape.values()
        for each, spread in zip(alike, _spreads(alike, seed=seed), strict=True)
    }


def _measured(series: Series, spread: _Spread) -> _Measured:
    before, after = series.before_ns, series.after_ns
    delta_ns = median(after) - median(before)
    if not _can_tell(len(before), len(after), 1):
        return _Measured(delta_ns, spread, None, 1.0)
    p = mann_whitney_p(before, after, tied_exact_up_to=_TIED_EXACT_UP_TO)
    return _Measured(delta_ns, spread, p, _inflation(series))


def _inflation(series: Series) -> float:
    """The variance of U over its variance with independent samples.

    The long-run variance of the ranks over their variance, with the weights of Bartlett (Newey and West, Econometrica 55,
    1987) as far as the square root of the number of samples. Below 1 where samples alternate.
    """
    ordered = sorted(chain(series.before_ns, series.after_ns))
    sides = [_centred_ranks(side, ordered) for side in (series.before_ns, series.after_ns)]
    variance = sum(_lagged_sum(side, 0) for side in sides)
    if not variance:
        return 1.0
    reach = max(math.isqrt(len(side) - 1) + 1 for side in sides)
    beyond = sum(
        (1 - lag / reach) * _unbiased_sum(side, lag) for lag in range(1, reach) for side in sides
    )
    return 1 + 2 * beyond / variance


def _centred_ranks(side: Sequence[int], ordered: Sequence[int]) -> list[float]:
    ranks = [bisect_left(ordered, value) + bisect_right(ordered, value) for value in side]
    mean = sum(ranks) / len(ranks)
    return [rank - mean for rank in ranks]


def _lagged_sum(values: Sequence[float], lag: int) -> float:
    return float(sum(map(mul, values, values[lag:])))


def _unbiased_sum(values: Sequence[float], lag: int) -> float:
    """The lagged sum, without what subtracting the mean took from it: independent values have 0 on average."""
    size = len(values)
    if lag >= size:
        return 0.0
    return _lagged_sum(values, lag) + _lagged_sum(values, 0) * (size - lag) / size / (size - 1)


def block_length(samples: int) -> int:
    """Samples that are drawn together: the cube root, rounded up.

    The growth that is best for a standard error (Künsch 1989; Hall, Horowitz and Jing, Biometrika 82, 1995).
    """
    return next(length for length in count(1) if length**3 >= samples)


def _spreads(series: Sequence[Series], *, seed: int) -> list[_Spread]:
    """Resample both sides of rows that have equally many samples; every resample draws the same steps of all rows."""
    draw = random.Random(seed)  # noqa: S311  (no secret)
    before = _resampled_medians([each.before_ns for each in series], draw)
    after = _resampled_medians([each.after_ns for each in series], draw)
    deltas = (after - before).select(deltas=pl.concat_arr(pl.all())).to_series()
    outside = round(RESAMPLES * ERROR_RATE / 2)
    ordered = deltas.arr.sort()
    ends = zip(
        ordered.arr.get(outside), ordered.arr.get(-1 - outside), deltas.arr.std(), strict=True
    )
    return [_Spread(*each) for each in ends]


def _resampled_medians(sides: Sequence[Sequence[int]], draw: random.Random) -> pl.DataFrame:
    """Medians of moving-block resamples: a row for each side, a column for each resample."""
    samples = len(sides[0])
    names = [str(i) for i in range(samples)]
    steps = pl.DataFrame(sides, schema=dict.fromkeys(names, pl.Int64), orient="row")
    return steps.select(
        pl.concat_arr([names[i] for i in _drawn(samples, draw)]).arr.median().alias(str(resample))
        for resample in range(RESAMPLES)
    )


def _drawn(samples: int, draw: random.Random) -> list[int]:
    """Indices of blocks of successive samples, until there are as many as there were.

    The last sample is followed by the first, so that all are drawn equally often (Politis and Romano, 1992).
    """
    length = block_length(samples)
    starts = [draw.randrange(samples) for _ in range(-(-samples // length))]
    return [(start + i) % samples for start in starts for i in range(length)][:samples]
