"""Shapes of results: broadcasting, reductions, windows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmprof.analyzers.costs.call import Shape, UnderivableError

if TYPE_CHECKING:
    from collections.abc import Iterable


def broadcast(shapes: Iterable[Shape]) -> Shape:
    """The shape that all broadcast to.

    Raises:
        UnderivableError: they do not.
    """
    result: list[int] = []
    for shape in shapes:
        result = [1] * (len(shape) - len(result)) + result
        for place, extent in enumerate(reversed(shape), start=1):
            result[-place] = _broadcast_extent(result[-place], extent)
    return tuple(result)


def without_axes(shape: Shape, axes: Iterable[int]) -> Shape:
    """The shape after reducing over axes, which may be negative; no axes means all of them.

    Raises:
        UnderivableError: an axis lies outside the shape.
    """
    reduced = {axis_in(shape, axis) for axis in axes} or set(range(len(shape)))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in reduced)


def with_axis(shape: Shape, axis: int, extent: int) -> Shape:
    """The shape with one axis, which may be negative, of another extent; raises like ``axis_in``."""
    place = axis_in(shape, axis)
    return (*shape[:place], extent, *shape[place + 1 :])


def axis_in(shape: Shape, axis: int) -> int:
    """The axis counted from the front.

    Raises:
        UnderivableError: it lies outside the shape.
    """
    if not -len(shape) <= axis < len(shape):
        msg = f"no axis {axis} in {shape}"
        raise UnderivableError(msg)
    return axis % len(shape)


def per_axis(values: Shape, rank: int) -> Shape:
    """One value for each spatial axis; a single one holds for all.

    Raises:
        UnderivableError: another number of values.
    """
    if len(values) == 1:
        return values * rank
    require(len(values) == rank, "one value for each axis")
    return values


def quotient(dividend: int, divisor: int) -> int:
    """An exact quotient.

    Raises:
        UnderivableError: the division has a remainder.
    """
    require(divisor > 0 and dividend % divisor == 0, "an exact quotient")
    return dividend // divisor


def exact_root(square: int) -> int:
    """The root of a square number; raises like ``quotient``."""
    root = math.isqrt(square)
    require(root * root == square, "a square number")
    return root


def require_extents(shape: Shape) -> None:
    """Raises UnderivableError if a recorded list of numbers cannot be the extents of a tensor."""
    require(all(extent >= 0 for extent in shape), "extents")


def require(condition: object, expectation: str) -> None:
    """Raises UnderivableError, naming what was expected, unless the condition holds."""
    if not condition:
        msg = f"expected {expectation}"
        raise UnderivableError(msg)


def _broadcast_extent(left: int, right: int) -> int:
    if right in (left, 1):
        return left
    require(left == 1, "shapes that broadcast")
    return right
