"""How often a request is recorded, and which recording is kept."""

from __future__ import annotations

import weakref

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


def test_always_slow_recordings_end_after_three() -> None:
    assert kept(9.0, 9.0, 9.0) == (1, [9.0, 9.0, 9.0])


def test_long_recordings_are_not_repeated() -> None:
    assert kept(10.0) == (0, [10.0])


def test_of_slow_recordings_the_fastest_is_kept_but_for_the_first_which_is_given_up() -> None:
    assert kept(2.0, 4.0, 3.0) == (2, [2.0, 4.0, 3.0])
    assert kept(2.0, 3.0, 4.0) == (1, [2.0, 3.0, 4.0])


def test_one_that_does_not_compare_ends_it_and_is_kept() -> None:
    assert kept(2.0, None, 0.5) == (1, [2.0])


def test_the_memory_of_the_first_is_given_back_before_the_second() -> None:
    alive: weakref.WeakSet[Take] = weakref.WeakSet()
    before: list[int] = []

    def take() -> Take:
        before.append(len(alive))
        alive.add(made := Take())
        return made

    least_disturbed(take, lambda _: 2.0, 1.0)
    assert before == [0, 0, 1]  # the second is kept: it may be the fastest


class Take:
    """A recording in a cycle, as the profiler's are."""

    def __init__(self) -> None:
        self.cycle = self
