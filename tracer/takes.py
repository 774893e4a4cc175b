"""Recording again where the first recording says little: what the profiler allocates can scatter a process' memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

_SLOW: Final = 1.3
_PAGE_S: Final = 4e-6
"""A new page took 2 us to 5 us on virtual machines, more where the host had to find it first: the same 41,000 pages cost a request of
0.55 s a tenth of a second in one recording and a third in another."""
_PAGES_SHARE: Final = 0.15
"""A recording is disturbed where it takes `_SLOW` times as long as a run, and new pages at least this share of that."""

_TRIES: Final = 3
_LONG_S: Final = 60.0
"""Recordings that take this long are not repeated."""


class Cost(NamedTuple):
    """What a recorded request took.

    Attributes:
        seconds: As long as it took.
        new_pages: Pages of memory that the system had to give; 0 where it does not say.
    """

    seconds: float
    new_pages: int


def least_disturbed(
    take: Callable[[], T], cost: Callable[[T], Cost | None], usual_s: float
) -> tuple[T, list[float]]:
    """Record, again while new pages make that much slower than running; the recording with the fewest of them is kept.

    The first recording is given up before the second is made. What a profiler keeps lies between the tensors of a request, so that
    those of the next one do not fit where they lay, and each takes new pages: twice the time where tensors are large. Once its memory
    is given back, the next recording finds room for both.

    Args:
        take: Makes a recording.
        cost: What its request took; None where that does not compare with a run, which ends recording with that one.
        usual_s: Seconds of an un-profiled run.

    Returns:
        What is kept, and the seconds of each recording that compares.
    """
    kept: tuple[int, T] | None = None
    taken_s: list[float] = []
    while True:
        last = take()
        took = cost(last)
        if took is None:
            return last, taken_s
        taken_s.append(took.seconds)
        if kept is None or took.new_pages < kept[0]:
            kept = took.new_pages, last
        if len(taken_s) == _TRIES or not _is_disturbed(took, usual_s):
            return kept[1], taken_s
        if len(taken_s) == 1:
            kept = None
        del last
        gc.collect()  # what a profiler found is held by cycles


def _is_disturbed(took: Cost, usual_s: float) -> bool:
    slow = _SLOW * usual_s < took.seconds < _LONG_S
    return slow and took.new_pages * _PAGE_S > _PAGES_SHARE * usual_s
