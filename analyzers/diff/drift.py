"""What two recordings of one program differ by in all that they run: no row's own change, and no proof of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from msgspec.structs import replace

from mmprof.analyzers.diff.significance import Judged, Series

MOST_DRIFT: Final = 0.02
"""How far clocks, temperature and the placement of memory move all kernels of a run; assumed (docs/significance.md)."""

LEAST_ROWS: Final = 8
"""With fewer rows, one that changed would pass for what they share."""


def shared_move(rows: Iterable[Series]) -> float:
    """By what share of its time the median row moved, at most `MOST_DRIFT` up or down.

    Args:
        rows: Samples of the kernels; those without time on a side are left out.
    """
    medians = ((median(each.before_ns), median(each.after_ns)) for each in rows)
    moves = [after / before - 1 for before, after in medians if before and after]
    if len(moves) < LEAST_ROWS:
        return 0.0
    return max(-MOST_DRIFT, min(MOST_DRIFT, median(moves)))


def beyond_drift(
    judged: Mapping[tuple[str, str], Judged], rows: Mapping[tuple[str, str], Series], move: float
) -> dict[tuple[str, str], Judged]:
    """Take back the verdict on each row that moved no further than all kernels did.

    Args:
        judged: What the samples say of each row.
        rows: The samples.
        move: What all kernels moved by, a share of their time.
    """
    return {key: _own_change(each, rows[key], move) for key, each in judged.items()}


def _own_change(judged: Judged, series: Series, move: float) -> Judged:
    if not judged.significant or not any(series.before_ns):
        return judged
    shared_ns = move * median(series.before_ns)
    is_within = min(0.0, shared_ns) <= judged.delta_ns <= max(0.0, shared_ns)
    is_near = judged.low_ns <= shared_ns <= judged.high_ns
    return replace(judged, significant=False) if is_within or is_near else judged
