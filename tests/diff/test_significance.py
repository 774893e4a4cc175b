"""The test of two samples, its correction for many rows, and what is said of a row."""

from __future__ import annotations

import random
from itertools import combinations
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprof.analyzers.diff.significance import (
    Judged,
    Series,
    block_length,
    judge,
    reason_of_silence,
)
from mmprof.analyzers.statistics import false_discovery_p, least_p, mann_whitney_p

ROW = ("kernel", "a")
samples = st.lists(st.integers(1_000, 1_040), min_size=2, max_size=6).map(tuple)
sides = st.lists(st.integers(1_000, 9_000), min_size=4, max_size=12).map(tuple)


def u_of(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    return sum((a > b) + (a == b) / 2 for a in one for b in other)


def enumerated_p(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The share of all ways to split the values whose U is at least as far from its mean."""
    values, middle = (*one, *other), len(one) * len(other) / 2
    distances = []
    for chosen in combinations(range(len(values)), len(one)):
        rest = [values[i] for i in range(len(values)) if i not in chosen]
        distances.append(abs(u_of(tuple(values[i] for i in chosen), tuple(rest)) - middle))
    seen = abs(u_of(one, other) - middle)
    return sum(d >= seen for d in distances) / len(distances)


def steps(n: int, *, ns: float = 1e6, seed: int = 0, noise: float = 0.02) -> tuple[int, ...]:
    draw = random.Random(seed)
    return tuple(round(ns * draw.lognormvariate(0, noise)) for _ in range(n))


def judged(before: tuple[int, ...], after: tuple[int, ...]) -> Judged:
    return judge({ROW: Series(before, after)})[ROW]


# --- Mann and Whitney's test -----------------------------------------------------------------------------------


@given(samples, samples)
def test_few_values_with_ties_are_counted_exactly(one, other) -> None:
    assert mann_whitney_p(one, other, tied_exact_up_to=6) == pytest.approx(enumerated_p(one, other))


def test_ties_by_hand() -> None:
    # mid-ranks 1 2 3.5 3.5 5 6 7 8: three of 70 choices of four sum to at most the 11.5 seen, three to as much above
    assert mann_whitney_p((1, 2, 3, 4), (3, 5, 6, 7), tied_exact_up_to=4) == pytest.approx(6 / 70)


def test_least_p_is_that_of_sides_that_lie_apart() -> None:
    assert least_p(4, 4) == 2 / 70 == mann_whitney_p((1, 2, 3, 4), (5, 6, 7, 8))
    assert least_p(3, 3) == 0.1


@pytest.mark.parametrize("n", [5, 12, 20, 30])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_against_scipy(n: int, shift: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = random.Random(n)
    one, other = ([draw.gauss(mean, 2) for _ in range(n)] for mean in (0, shift))
    method = "exact" if n <= 20 else "asymptotic"
    expected = stats.mannwhitneyu(one, other, method=method).pvalue
    assert mann_whitney_p(one, other) == pytest.approx(expected, rel=1e-9)
    tied = [[round(v) for v in side] for side in (one, other)]
    expected = stats.mannwhitneyu(*tied, method="asymptotic").pvalue
    assert mann_whitney_p(*tied) == pytest.approx(expected, rel=1e-9)


def test_correction_against_numbers_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.5 times 4/1 4/2 4/3 4/4: 0.04 0.04 0.04 0.5
    assert false_discovery_p([0.5, 0.02, 0.01, 0.03]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    assert false_discovery_p([]) == []


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=20))
def test_correction_against_scipy(ps: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert false_discovery_p(ps) == pytest.approx(list(stats.false_discovery_control(ps)))


# --- one row ---------------------------------------------------------------------------------------------------


@given(sides, sides)
@settings(deadline=None, max_examples=12)
def test_swapped_sides_change_the_sign_alone(before, after) -> None:
    one, other = judged(before, after), judged(after, before)
    assert abs(one.delta_ns + other.delta_ns) == 0
    assert one.p == pytest.approx(other.p)


@given(sides, sides, st.integers(0, 10**15), st.integers(1, 1_000))
@settings(deadline=None, max_examples=12)
def test_only_differences_and_their_order_count(before, after, moved, factor) -> None:
    one = judged(before, after)
    shifted = judged(tuple(v + moved for v in before), tuple(v + moved for v in after))
    assert shifted == one
    larger = judged(tuple(2 * factor * v for v in before), tuple(2 * factor * v for v in after))
    assert (larger.p, larger.significant) == (one.p, one.significant)
    assert larger.delta_ns == 2 * factor * (median(after) - median(before))


def test_a_side_against_itself_is_no_change() -> None:
    same = judged(steps(10), steps(10))
    assert (same.delta_ns, same.p, same.significant) == (0, 1.0, False)


def test_a_change_of_a_fifth_is_found_and_its_interval_holds_it() -> None:
    found = judged(steps(20), steps(20, ns=1.2e6, seed=1))
    assert found.significant is True
    assert found.p < 1e-6
    assert 0 < found.low_ns < 200_000 < found.high_ns
    assert found.detectable_ns < 100_000


def test_a_constant_row_that_grew_by_a_nanosecond_has_grown() -> None:
    assert judged((7,) * 6, (8,) * 6) == Judged(1, 1, 1, pytest.approx(2 / 924), True, 0)


def test_an_outlier_is_no_change() -> None:
    before = steps(10)
    assert judged(before, (*before[:9], 50 * before[9])).significant is False


def test_steps_that_resemble_their_neighbours_count_for_less() -> None:
    low, high = [1_000 + i for i in range(10)], [1_020 + i for i in range(10)]
    alternating = [v for pair in zip(low, high, strict=True) for v in pair]
    in_stretches = [*low, *high]
    after = tuple(range(1_015, 1_035))
    assert sorted(alternating) == sorted(in_stretches)
    mixed, drifting = (judged(tuple(v), tuple(after)).p for v in (alternating, in_stretches))
    assert drifting > mixed


@pytest.mark.parametrize(
    ("n", "length"), [(1, 1), (2, 2), (8, 2), (9, 3), (27, 3), (50, 4), (64, 4)]
)
def test_blocks_grow_as_the_cube_root(n: int, length: int) -> None:
    assert block_length(n) == length


# --- many rows -------------------------------------------------------------------------------------------------


def test_rows_are_corrected_with_those_of_their_level_alone() -> None:
    apart = Series(tuple(range(6)), tuple(range(10, 16)))
    equal = Series(tuple(range(6)), tuple(range(6)))
    alone = judge({("total", "t"): apart})["total", "t"]
    rows = {("total", "t"): apart, ("op", "changed"): apart}
    rows |= {("op", str(i)): equal for i in range(9)}
    found = judge(rows)
    assert list(found) == list(rows)
    assert found["total", "t"] == alone
    assert found["op", "changed"].p == pytest.approx(10 * alone.p)
    assert not any(found["op", str(i)].significant for i in range(9))


def test_a_row_that_could_not_be_told_has_no_verdict_unless_its_level_has() -> None:
    apart = Series((1, 3, 0, 2), (11, 13, 10, 12))
    equal = Series((1, 3, 0, 2), (1, 3, 0, 2))
    one_of_two = judge({("op", "a"): apart, ("op", "b"): equal})
    assert [j.significant for j in one_of_two.values()] == [None, None]
    assert one_of_two["op", "a"].detectable_ns is None
    both = judge({("op", "a"): apart, ("op", "b"): apart})
    assert [j.significant for j in both.values()] == [True, True]


def test_too_few_samples_are_silent_and_say_why() -> None:
    assert judged((5, 6, 7), (50, 60, 70)).significant is None
    assert judged((5, 6, 7), (50, 60, 70)).p is None
    assert judged((5,), (9,)) == Judged(4, 4, 4, None, None, None)
    assert reason_of_silence(4, 4) == ""
    assert "3 before and 3 after" in reason_of_silence(3, 3)
    assert "with 4 or more" in reason_of_silence(3, 3)
    # 2 / 12,870 with eight a side, and 2 / 3,432 with seven
    assert reason_of_silence(8, 8, rows=100) == ""
    assert "one in 100 rows can be told from chance with 8" in reason_of_silence(7, 7, rows=100)


def test_no_rows_and_rows_of_several_lengths() -> None:
    assert judge({}) == {}
    mixed = judge({("op", "a"): Series(steps(5), steps(9)), ("op", "b"): Series((1,), (2, 3))})
    assert mixed["op", "a"].significant is False
    assert mixed["op", "b"].p is None


def test_the_seed_decides_the_resampling_and_nothing_else() -> None:
    rows = {ROW: Series(steps(20), steps(20, seed=3))}
    assert judge(rows, seed=1) == judge(rows, seed=1)
    one, other = judge(rows, seed=1)[ROW], judge(rows, seed=2)[ROW]
    assert (one.delta_ns, one.p) == (other.delta_ns, other.p)
    assert (one.low_ns, one.high_ns) != (other.low_ns, other.high_ns)


def test_equal_sides_are_seldom_called_changed() -> None:
    rows = {
        (f"trial {trial}", str(row)): Series(
            steps(12, seed=trial * 1_000 + row), steps(12, seed=-1 - trial * 1_000 - row)
        )
        for trial in range(40)
        for row in range(20)
    }
    called = {level for (level, _), found in judge(rows).items() if found.significant}
    # binomial: 40 trials of 5 % have more than 6 in 1.4 % of cases
    assert len(called) <= 6


def test_a_changed_row_among_many_is_found() -> None:
    rows = {("op", str(i)): Series(steps(12, seed=i), steps(12, seed=-1 - i)) for i in range(100)}
    rows["op", "planted"] = Series(steps(12), steps(12, ns=1.1e6, seed=7))
    assert [key for key, found in judge(rows).items() if found.significant] == [("op", "planted")]
