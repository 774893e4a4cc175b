"""Recording again where the first recording says little: what the profiler allocates can scatter a process' memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_DISTURBED: Final = 1.3
"""A recording that takes so many times as long as an un-profiled run says little of it."""

_FEW: Final = 3
_LONG_S: Final = 10.0
"""Few recordings are made of a request that takes less than this, ..."""

_MANY: Final = 8
_TOGETHER_S: Final = 5.0
"""... and many while all took less than this: memory was often in order again at the fifth recording, seldom earlier."""


def least_disturbed(
    take: Callable[[], T], elapsed_s: Callable[[T], float | None], usual_s: float
) -> tuple[T, list[float]]:
    """Record, again while that is much slower than running, and keep the fastest recording.

    Args:
        take: Makes a recording.
        elapsed_s: Its seconds; None where they do not compare with a run, which ends recording with that one.
        usual_s: Seconds of an un-profiled run.

    Returns:
        What is kept, and the seconds of each recording.
    """
    kept: T | None = None
    taken_s: list[float] = []
    while True:
        last = take()
        seconds = elapsed_s(last)
        if seconds is None:
            return last, taken_s
        if kept is None or seconds < min(taken_s):
            kept = last
        taken_s.append(seconds)
        if seconds <= _DISTURBED * usual_s or not _may_go_on(taken_s):
            return kept, taken_s


def _may_go_on(taken_s: list[float]) -> bool:
    few = len(taken_s) < _FEW and taken_s[-1] < _LONG_S
    return few or (len(taken_s) < _MANY and sum(taken_s) < _TOGETHER_S)
