"""Tests of what two samples say, in plain numbers."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Final

_EXACT_UP_TO: Final = 20


def mann_whitney_p(
    one: Sequence[float], other: Sequence[float], *, tied_exact_up_to: int = 0
) -> float:
    """The two-sided p-value that two samples are of one distribution (Mann and Whitney, 1947).

    Exact up to 20 values a side without ties, by counting all arrangements; else the normal approximation with
    corrections for ties and continuity (Conover, Practical Nonparametric Statistics, section 5.1).

    Args:
        one: One sample.
        other: The other.
        tied_exact_up_to: Values a side up to which samples with ties are counted as well. Each pattern of ties is
            counted anew, which is why it is not free.
    """
    n, m = len(one), len(other)
    ordered = sorted(one)
    doubled_u = sum(bisect_left(ordered, v) + bisect_right(ordered, v) for v in other)
    ties = _tie_sizes(one, other)
    exact_up_to = tied_exact_up_to if len(ties) < n + m else _EXACT_UP_TO
    if max(n, m) <= exact_up_to:
        return _exact_p(abs(doubled_u - n * m), ties, m)
    return _normal_p(doubled_u / 2, n, m, ties=ties)


def least_p(n: int, m: int) -> float:
    """The smallest p-value that the test can give: the two arrangements that keep the samples apart."""
    return min(1.0, 2 / math.comb(n + m, n))


def false_discovery_p(ps: Sequence[float]) -> list[float]:
    """P-values corrected so that calling those up to q makes a share of at most q of the calls false.

    Benjamini and Hochberg, Controlling the False Discovery Rate, 1995: with r the rank of a p-value among m, the least
    p * m / r of it and all larger ones.
    """
    falling = sorted(range(len(ps)), key=ps.__getitem__, reverse=True)
    scaled = (ps[i] * len(ps) / (len(ps) - k) for k, i in enumerate(falling))
    corrected = dict(zip(falling, accumulate(scaled, min), strict=True))
    return [corrected[i] for i in range(len(ps))]


def _tie_sizes(one: Sequence[float], other: Sequence[float]) -> tuple[int, ...]:
    counts = Counter(one)
    counts.update(other)
    return tuple(count for _, count in sorted(counts.items()))


def _exact_p(doubled_distance: int, ties: tuple[int, ...], m: int) -> float:
    """The share of arrangements whose U is at least as far from its mean."""
    arrangements = _doubled_distances(ties, m)
    far = sum(count for distance, count in arrangements if distance >= doubled_distance)
    return far / math.comb(sum(ties), m)


@cache
def _doubled_distances(ties: tuple[int, ...], m: int) -> tuple[tuple[int, int], ...]:
    """Twice the distance of U from its mean, and how many choices of m of the ordered values give it.

    `sums[k]` counts the choices of k values by the sum of their doubled mid-ranks, which are whole: an integer whose
    digits, `width` bits each, are the counts, so that adding a value to all choices is one shift.
    """
    total = sum(ties)
    width = math.comb(total, m).bit_length()
    sums = [1] + [0] * m
    seen = 0
    for tie in ties:
        for _ in range(tie):
            for k in range(m, 0, -1):
                sums[k] += sums[k - 1] << (2 * seen + tie + 1) * width
        seen += tie
    digits = _digits(sums[m], width)
    expected = m * (total + 1)
    return tuple((abs(rank_sum - expected), count) for rank_sum, count in digits if count)


def _digits(number: int, width: int) -> list[tuple[int, int]]:
    mask = (1 << width) - 1
    return [(i, number >> i * width & mask) for i in range(-(-number.bit_length() // width))]


def _normal_p(u: float, n: int, m: int, *, ties: Sequence[int]) -> float:
    total = n + m
    tied = sum(t**3 - t for t in ties) / (total * (total - 1))
    deviation = math.sqrt(n * m / 12 * (total + 1 - tied))
    if deviation == 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / deviation
    return math.erfc(z / math.sqrt(2))
