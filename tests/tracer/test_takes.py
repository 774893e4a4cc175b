"""How often a request is recorded, and which recording is kept."""

from __future__ import annotations

import pytest

from mmprof.tracer.takes import least_disturbed


def kept(*durations_s: float | None, usual_s: float = 1.0) -> tuple[int, list[float]]:
    """Which recording of those that take so long is kept, by its number, and the seconds of each that was made."""
    left = iter(enumerate(durations_s))
    (number, _), taken_s = least_disturbed(lambda: next(left), lambda take: take[1], usual_s)
    return number, taken_s


def test_a_recording_as_fast_as_running_is_the_only_one() -> None:
    assert kept(1.3) == (0, [1.3])


def test_recording_goes_on_until_one_is_as_fast_as_running() -> None:
    assert kept(2.0, 1.9, 1.2) == (2, [2.0, 1.9, 1.2])


@pytest.mark.parametrize(
    ("seconds", "made"),
    [(0.1, 8), (1.0, 5), (2.0, 3), (9.0, 3), (10.0, 1)],
    ids=["eight at most", "five seconds together", "three of some seconds", "just below", "long"],
)
def test_always_slow_recordings_end_by_number_and_time(seconds: float, made: int) -> None:
    assert kept(*[seconds] * 9, usual_s=0.01) == (0, [seconds] * made)


def test_of_slow_recordings_the_fastest_is_kept() -> None:
    assert kept(4.0, 3.0, 3.5) == (1, [4.0, 3.0, 3.5])


def test_one_that_does_not_compare_ends_it_and_is_kept() -> None:
    assert kept(2.0, None, 0.5) == (1, [2.0])
