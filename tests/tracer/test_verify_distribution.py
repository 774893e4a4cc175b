"""Draws of two sides: the same distribution passes, another one does not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mmprof.tracer.verify_distribution import DRAWS, check_draws, drawn  # noqa: E402
from mmprof.tracer.verify_outputs import (  # noqa: E402
    Reference,
    check_outputs,
    outputs_of,
    reference_of,
)
from mmprof.tracer.workload import Workload  # noqa: E402

FAIR = (0.5, 0.5)


def coins(*weights: float, length: int = 16) -> Workload:
    """Draws tokens of some weights by torch's own generator."""

    def run() -> torch.Tensor:
        return torch.multinomial(torch.tensor(weights), length, replacement=True)

    return Workload("coins", {}, run)


def test_another_order_of_draws_of_the_same_distribution_passes() -> None:
    plain = coins(*FAIR)
    turned = Workload("turned", {}, lambda: 1 - plain.run().flip(0))
    found = check_outputs(turned, reference_of(plain, draws=True), "distribution")
    assert found.ok, found.detail
    assert "32 draws of each side" in found.detail


@pytest.mark.parametrize(
    "wrong",
    [coins(0.8, 0.2), coins(0.5, 0.25, 0.25), coins(*FAIR, length=15), coins(0.0, 1.0)],
    ids=["biased", "another token", "shorter", "always the same"],
)
def test_another_distribution_does_not(wrong: Workload) -> None:
    found = check_outputs(wrong, reference_of(coins(*FAIR), draws=True), "distribution")
    assert not found.ok
    assert found.detail.startswith("drawn otherwise; 32 draws of each side")


def test_equal_distributions_are_called_different_once_in_a_hundred_times() -> None:
    plain = coins(*FAIR, length=4)
    draws = [drawn(plain, outputs_of, first_seed=DRAWS * at) for at in range(21)]
    differ = sum(not check_draws(one, other).ok for one, other in pairwise(draws))
    assert differ <= 2  # more in 0.1 % of the cases: binomial, 20 trials of 1 %


def test_floats_are_compared_as_well() -> None:
    near = Workload("near", {}, lambda: torch.randn(8))
    far = Workload("far", {}, lambda: torch.randn(8) * 3 + 1)
    reference = reference_of(near, draws=True)
    assert check_outputs(near, reference, "distribution").ok
    assert not check_outputs(far, reference, "distribution").ok


def test_where_nothing_is_drawn_outputs_must_be_equal() -> None:
    same, other = (Workload("", {}, lambda at=at: torch.full((3,), at)) for at in (1, 2))
    reference = reference_of(same, draws=True)
    assert check_outputs(same, reference, "distribution").ok
    assert not check_outputs(other, reference, "distribution").ok


def test_the_generators_are_left_as_they_were() -> None:
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    drawn(coins(*FAIR), outputs_of)
    assert torch.rand(1) == first


def test_draws_come_back_from_a_file(tmp_path: Path) -> None:
    reference = reference_of(coins(*FAIR), draws=True)
    reference.save(tmp_path / "reference.pt")
    again = Reference.load(tmp_path / "reference.pt")
    assert len(again.draws) == DRAWS
    assert torch.equal(again.draws[3]["output"], reference.draws[3]["output"])
    assert not reference_of(coins(*FAIR)).draws
