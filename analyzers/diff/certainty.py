"""Which changes are surest: the order in which a reader should believe them, whatever their size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mmprof.analyzers.diff.result import Row

CERTAIN: Final = 1e-4
"""Rows whose p lies below are told apart by their time: how far below says more of the number of samples."""

MOST: Final = 10


def surest(rows: Iterable[Row]) -> list[str]:
    """Keys of the rows that are called changed, the least likely by chance first, of equally likely ones the largest change.

    A falsely called row of long kernels can move by more nanoseconds than a short kernel that did change; it rarely has the
    smaller p as well (docs/significance.md).
    """
    changed = [row for row in rows if row.significant and row.p is not None]
    return [row.key for row in sorted(changed, key=_doubt)[:MOST]]


def _doubt(row: Row) -> tuple[float, int, str]:
    return max(row.p or 0.0, CERTAIN), -abs(row.delta_ns), row.key
