"""The statistics of pairs by hand-made numbers, what becomes of trial processes, and the verdicts."""

from __future__ import annotations

import math
import random
from itertools import permutations
from pathlib import Path

import pytest

from mmprof.tracer.lever_registry import levers
from mmprof.tracer.verify import verdict_of
from mmprof.tracer.verify_messages import FindPeak, Peak
from mmprof.tracer.verify_prediction import predictions
from mmprof.tracer.verify_results import OutputCheck
from mmprof.tracer.verify_statistics import (
    Speedup,
    bootstrap_interval,
    mann_whitney_p,
    noise_of,
    speedup_of,
)
from mmprof.tracer.verify_trial import TrialEndedError, TrialProcess
from tests.conftest import ROOT


def test_the_speedup_is_the_median_of_the_pairs_ratios() -> None:
    # ratios 2, 2, 4: a machine that is twice as slow for the last pair changes none of them
    found = speedup_of([2.0, 4.0, 16.0], [1.0, 2.0, 4.0], seed=0)
    assert found.median == 2
    assert (found.low, found.high) == (2, 4)


def test_equal_ratios_leave_no_doubt() -> None:
    assert speedup_of([3.0] * 6, [2.0] * 6, seed=0) == Speedup(1.5, 1.5, 1.5)


def test_the_bootstrap_is_seeded_and_brackets_the_median() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    low, high = bootstrap_interval(values, seed=1)
    assert (low, high) == bootstrap_interval(values, seed=1)
    # the exact interval of resampled medians of 1..7: P(median <= 1) = 0.010, P(median <= 2) = 0.098
    assert low == 2
    assert high == 6


def test_bootstrap_covers_the_median_of_a_uniform_distribution() -> None:
    draw = random.Random(7)
    intervals = [bootstrap_interval([draw.random() for _ in range(8)], seed=i) for i in range(100)]
    covered = sum(low <= 0.5 <= high for low, high in intervals)
    assert 88 <= covered <= 100


def exact_p(one: list[float], other: list[float]) -> float:
    """By trying all arrangements of ranks."""
    values = [*one, *other]
    middle = len(one) * len(other) / 2
    u = [
        sum(a > b for a in order[: len(one)] for b in order[len(one) :])
        for order in permutations(values)
    ]
    seen = abs(sum(a > b for a in one for b in other) - middle)
    return sum(abs(each - middle) >= seen for each in u) / math.factorial(len(values))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),  # 2 of 20 arrangements are as extreme
        ([1.0, 4.0, 6.0], [2.0, 3.0, 5.0, 7.0]),
        ([5.0, 6.0], [1.0, 2.0, 3.0]),
    ],
)
def test_mann_whitney_is_exact_for_few_values(one: list[float], other: list[float]) -> None:
    assert mann_whitney_p(one, other) == pytest.approx(exact_p(one, other))


def test_mann_whitney_of_ties_and_of_many() -> None:
    assert mann_whitney_p([1.0] * 5, [1.0] * 5) == 1
    ordered = [float(i) for i in range(30)]
    # U = 0, mean 450, variance 30 * 30 * 61 / 12 = 4575: z = 449.5 / 67.64 = 6.65
    assert mann_whitney_p(ordered, [i + 100 for i in ordered]) == pytest.approx(3.0e-11, rel=0.05)
    # one tie of 2 among 8: variance 16 / 12 * (9 - 6 / 56), U = 1.5, z = (6.5 - 0.5) / 3.443 = 1.7425
    assert mann_whitney_p([1.0, 2.0, 3.0, 4.0], [3.0, 5.0, 6.0, 7.0]) == pytest.approx(
        0.0814, abs=1e-4
    )


def test_what_equal_processes_differ_widens_an_interval() -> None:
    equal = Speedup(0.99, 0.97, 1.01)
    assert equal.noise == pytest.approx(0.99**-1.96)
    # a half-width of 3 % and a noise of 4 % make 5 %
    wide = Speedup(1.0, math.exp(-0.03), math.exp(0.03)).widened(math.exp(0.04))
    assert (wide.low, wide.high) == pytest.approx((math.exp(-0.05), math.exp(0.05)))


def test_the_noise_of_three_twins_is_that_of_their_mean_square() -> None:
    # logarithms of 1 %, -2 % and 2 %: a root mean square of the square root of 3, in percent
    twins = [Speedup(math.exp(e), 0.9, 1.1) for e in (0.01, -0.02, 0.02)]
    assert noise_of(twins) == pytest.approx(math.exp(3.182 * 0.01 * math.sqrt(3)))


@pytest.mark.parametrize(
    ("speedup", "ok", "verdict"),
    [
        (Speedup(1.2, 1.1, 1.3), True, "verified"),
        (Speedup(1.2, 0.9, 1.3), True, "no gain"),
        (Speedup(1.0, 0.98, 1.02), True, "no gain"),
        (Speedup(0.8, 0.7, 0.9), True, "slower"),
        (Speedup(2.0, 1.9, 2.1), False, "outputs differ"),
    ],
)
def test_verdicts(speedup: Speedup, ok: bool, verdict: str) -> None:
    assert verdict_of(speedup, OutputCheck(ok=ok, detail="")) == verdict


def test_what_a_trace_predicts_is_by_lever() -> None:
    found = predictions(
        ROOT / "fixtures" / "llama-decode-h100-synthetic.json.gz", levers().values()
    )
    graphs = found["cuda_graphs"]
    assert 1 <= graphs.low <= graphs.expected <= graphs.high
    assert graphs.expected > 1.5  # the GPU of that trace idles for 83 % of the time
    assert set(found) <= set(levers())


def test_a_trace_that_cannot_be_read_predicts_nothing(tmp_path: Path) -> None:
    assert predictions(tmp_path / "trace.json", levers().values()) == {}


def test_a_trial_that_does_not_answer_is_ended() -> None:
    with TrialProcess(limit_s=0.05) as trial, pytest.raises(TrialEndedError) as ended:
        trial.ask(FindPeak(), Peak)
    assert ended.value.reason == "no answer within 0.05 s"
    assert not ended.value.inapplicable
