"""How often a request is recorded, and which recording is kept."""

from __future__ import annotations

import weakref

from mmprof.tracer.takes import Cost, least_disturbed

MANY = 10**6
"""Pages that take four seconds."""
FEW = 37_500
"""Pages that take 0.15 s, the most that a run of 1 s may lose to them."""


def kept(*takes: tuple[float, int] | None, usual_s: float = 1.0) -> tuple[int, list[float]]:
    """Which recording with such seconds and new pages is kept, by its number, and the seconds of each that was made."""
    left = iter(enumerate(takes))

    def cost(take: tuple[int, tuple[float, int] | None]) -> Cost | None:
        return Cost(*take[1]) if take[1] else None

    (number, _), taken_s = least_disturbed(lambda: next(left), cost, usual_s)
    return number, taken_s


def test_a_recording_as_fast_as_running_is_the_only_one() -> None:
    assert kept((1.3, MANY)) == (0, [1.3])


def test_a_recording_that_is_slow_for_the_profiler_alone_is_the_only_one() -> None:
    assert kept((2.6, FEW)) == (0, [2.6])


def test_recording_goes_on_until_no_new_pages_make_it_slow() -> None:
    assert kept((2.0, MANY), (1.9, MANY), (1.2, 0)) == (2, [2.0, 1.9, 1.2])
    assert kept((2.0, MANY), (1.9, FEW)) == (1, [2.0, 1.9])


def test_it_ends_after_three_and_keeps_the_fewest_pages_but_the_first_is_given_up() -> None:
    assert kept((2.0, MANY), (2.2, MANY + 9), (2.1, MANY + 8)) == (2, [2.0, 2.2, 2.1])
    assert kept((2.0, MANY), (2.2, MANY + 8), (2.1, MANY + 9)) == (1, [2.0, 2.2, 2.1])


def test_long_recordings_are_not_repeated() -> None:
    assert kept((60.0, 9 * MANY)) == (0, [60.0])


def test_one_that_does_not_compare_ends_it_and_is_kept() -> None:
    assert kept((2.0, MANY), None, (0.5, 0)) == (1, [2.0])


class Take:
    """A recording in a cycle, as the profiler's are."""

    def __init__(self) -> None:
        self.cycle = self


def test_the_memory_of_the_first_is_given_back_before_the_second() -> None:
    alive: weakref.WeakSet[Take] = weakref.WeakSet()
    before: list[int] = []

    def take() -> Take:
        before.append(len(alive))
        alive.add(made := Take())
        return made

    least_disturbed(take, lambda _: Cost(2.0, MANY), 1.0)
    assert before == [0, 0, 1]  # the second is kept: it may be the best
