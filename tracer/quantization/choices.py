"""What was chosen for each linear layer, and from which times: pure data and the rule, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

AS_IS: Final = "as is"
ANY_ROWS: Final = 0
"""Stands for every number of rows that has no product of its own."""


class Shape(NamedTuple):
    """What decides how long a product takes.

    Attributes:
        rows: Rows of activations.
        outputs: Output channels.
        inputs: Input channels.
        biased: Whether a bias is added.
        dtype: Of the weights.
    """

    rows: int
    outputs: int
    inputs: int
    biased: bool
    dtype: str


class Ratio(NamedTuple):
    """Time of a candidate in units of the layer as it is, over the rounds.

    Attributes:
        low: Lower quartile.
        median: Median.
        high: Upper quartile.
    """

    low: float
    median: float
    high: float


UNCHANGED: Final = Ratio(1.0, 1.0, 1.0)


class Tried(Struct, frozen=True, kw_only=True):
    """A candidate at one shape.

    Attributes:
        candidate: Its name.
        rows: Rows of activations.
        weight: Outputs and inputs.
        ratio: Median time in units of the layer as it is; None where it was not timed.
        spread: Quartiles of that.
        error: Largest relative L2 error of a layer of this shape; None where it was not made.
        rejected: Why it was chosen for no layer; empty where it was.
    """

    candidate: str
    rows: int
    weight: tuple[int, int]
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    error: float | None = None
    rejected: str = ""


class LayerChoice(Struct, frozen=True, kw_only=True):
    """What multiplies in one layer, at one number of rows.

    Attributes:
        layer: Path of the layer.
        rows: Rows of activations.
        weight: Outputs and inputs.
        dtype: Of the weights.
        calls: Calls in a request.
        chosen: The candidate; `as is` where none is faster.
        before_us: Microseconds of a call as it is, in place: median over the rounds, mean over the layers of this shape.
        after_us: Microseconds of a call by the candidate.
        spread_us: Quartiles of that.
        error: Relative L2 error of this layer's output.
    """

    layer: str
    rows: int
    weight: tuple[int, int]
    dtype: str
    calls: int
    chosen: str
    before_us: float
    after_us: float
    spread_us: tuple[float, float]
    error: float


class Choices(Struct, frozen=True, kw_only=True):
    """What a lever chose for the linear layers of a workload.

    Attributes:
        lever: Its id.
        error_budget: Largest relative L2 error that a layer's output may have.
        layers: One element for each layer and number of rows, in the order of the first calls.
        tried: All candidates, by shape.
    """

    lever: str
    error_budget: float
    layers: list[LayerChoice]
    tried: list[Tried]

    @property
    def before_us(self) -> float:
        """Microseconds of all linear layers of a request as they are: times weighed by calls."""
        return sum(each.before_us * each.calls for each in self.layers)

    @property
    def after_us(self) -> float:
        """The same with the candidates."""
        return sum(each.after_us * each.calls for each in self.layers)


def choose(ratios: Mapping[str, Ratio], errors: Mapping[str, float], budget: float) -> str:
    """The candidate for a layer at a shape.

    A candidate takes the place of the one before only if its upper quartile is below that one's lower: where two are as
    fast up to noise, the more precise stays.

    Args:
        ratios: Times of the candidates that fit, the most precise first.
        errors: Relative L2 error of the layer's output by candidate.
        budget: The largest that is allowed.
    """
    chosen, best = AS_IS, UNCHANGED
    for name, ratio in ratios.items():
        if errors[name] <= budget and ratio.high < best.low:
            chosen, best = name, ratio
    return chosen


def quartiles(values: Sequence[float]) -> Ratio:
    """Quartiles of some ratios, as values that occurred."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return Ratio(ordered[last // 4], ordered[len(ordered) // 2], ordered[last - last // 4])
