"""Recording again where the first recording says little: what the profiler allocates can scatter a process' memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_DISTURBED: Final = 1.3
"""A recording that takes so many times as long as an un-profiled run says little of it."""

_TRIES: Final = 3
_LONG_S: Final = 10.0
"""Recordings that take this long are not repeated."""


def least_disturbed(
    take: Callable[[], T], elapsed_s: Callable[[T], float | None], usual_s: float
) -> tuple[T, list[float]]:
    """Record, again while that is much slower than running.

    The first recording is given up before the second is made. What a profiler keeps lies between the tensors of a request, so that
    those of the next one do not fit where they lay, and each takes new pages: twice the time where tensors are large. Once its memory
    is given back, the next recording finds room for both. Of the others the fastest is kept.

    Args:
        take: Makes a recording.
        elapsed_s: Its seconds; None where they do not compare with a run, which ends recording with that one.
        usual_s: Seconds of an un-profiled run.

    Returns:
        What is kept, and the seconds of each recording.
    """
    kept: tuple[float, T] | None = None
    taken_s: list[float] = []
    while True:
        last = take()
        seconds = elapsed_s(last)
        if seconds is None:
            return last, taken_s
        taken_s.append(seconds)
        if kept is None or seconds < kept[0]:
            kept = seconds, last
        if not _should_repeat(taken_s, usual_s):
            return kept[1], taken_s
        if len(taken_s) == 1:
            kept = None
        del last
        gc.collect()  # what a profiler found is held by cycles


def _should_repeat(taken_s: list[float], usual_s: float) -> bool:
    return len(taken_s) < _TRIES and _DISTURBED * usual_s < taken_s[-1] < _LONG_S
