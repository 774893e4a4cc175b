"""Reductions, scans and orderings: the input is read once, the smaller result written once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Shape, Tensor, UnderivableError
from mmprof.analyzers.costs.dtypes import Category, category
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import axis_in, broadcast, require, with_axis, without_axes


@dataclass(frozen=True, slots=True)
class Reduction:
    """How a reduction is called and what it returns.

    Attributes:
        axes: index of the reduced dimension or dimensions.
        flops: operations for each element of the input.
        dtype: index of a dtype argument, None without one.
        result: type of the result where it is not the input's.
        values: how many results of the input's type there are.
        indices: the positions of the results are returned too, as int64, when a dimension is given.
        sums_integers: integers are accumulated in int64.
    """

    axes: int = 1
    flops: int = 1
    dtype: int | None = None
    result: str | None = None
    values: int = 1
    indices: bool = False
    sums_integers: bool = False


_FLAGS: Final = ("True", "False")
_REDUCTIONS: Final[dict[str, Reduction]] = {
    "aten::sum": Reduction(dtype=3, sums_integers=True),
    "aten::nansum": Reduction(dtype=3, sums_integers=True),
    "aten::mean": Reduction(dtype=3),
    "aten::prod": Reduction(dtype=3, sums_integers=True),
    "aten::amax": Reduction(),
    "aten::amin": Reduction(),
    "aten::aminmax": Reduction(flops=2, values=2),
    "aten::_aminmax": Reduction(flops=2, values=2),
    "aten::any": Reduction(result="bool"),
    "aten::all": Reduction(result="bool"),
    "aten::argmax": Reduction(result="long"),
    "aten::argmin": Reduction(result="long"),
    "aten::count_nonzero": Reduction(result="long"),
    "aten::median": Reduction(indices=True),
    "aten::mode": Reduction(indices=True),
    "aten::norm": Reduction(axes=2, flops=2),
    "aten::linalg_vector_norm": Reduction(axes=2, flops=2, dtype=4),
    "aten::logsumexp": Reduction(flops=4),
    # mean, difference, square, sum
    "aten::var": Reduction(flops=4),
    "aten::std": Reduction(flops=4),
    "aten::var_mean": Reduction(flops=4, values=2),
    "aten::std_mean": Reduction(flops=4, values=2),
}


def reduction(kind: Reduction, call: OperatorCall) -> Cost:
    """(input, ..., dim or dims, ...): without dims everything is reduced to one element."""
    tensor = call.tensor(0)
    shape = _result_shape(call, tensor, kind.axes)
    results = [tensor.like(shape, _result_dtype(kind, call, tensor))] * kind.values
    if kind.indices and call.value(kind.axes):
        results.append(tensor.like(shape, "long"))
    moved = tensor.bytes + sum(result.bytes for result in results)
    return Cost(kind.flops * tensor.numel, moved, tensor.dtype, "reduction")


for _name, _kind in _REDUCTIONS.items():
    cost_model(_name)(partial(reduction, _kind))


@cost_model("aten::max", "aten::min")
def extremum(call: OperatorCall) -> Cost:
    """Of one tensor, (input), (input, dim, ...), or elementwise of two, (input, other)."""
    other = call.optional_tensor(1)
    if other is None:
        return reduction(Reduction(indices=True), call)
    tensor = call.tensor(0)
    result = tensor.like(broadcast([tensor.shape, other.shape]))
    moved = tensor.bytes + other.bytes + result.bytes
    return Cost(result.numel, moved, tensor.dtype, "elementwise")


@cost_model("aten::cumsum", "aten::cumprod", "aten::logcumsumexp", "aten::cumsum_")
def scan(call: OperatorCall) -> Cost:
    """(input, dim, dtype, result): the input may come second where the result is the first."""
    tensor = call.optional_tensor(0) or call.tensor(1)
    widened = "long" if category(tensor.dtype) < Category.FLOATING else tensor.dtype
    dtype = tensor.dtype if call.name.endswith("_") else call.dtype_argument(2) or widened
    moved = tensor.bytes + tensor.like(dtype=dtype).bytes
    return Cost(tensor.numel, moved, dtype, "scan")


@cost_model("aten::cummax", "aten::cummin", "aten::_cummax_helper", "aten::_cummin_helper")
def scan_with_indices(call: OperatorCall) -> Cost:
    """(input, dim): values and positions."""
    tensor = call.tensor(0)
    return _ordered(tensor, tensor.shape, flops=tensor.numel)


@cost_model("aten::topk", "aten::kthvalue")
def topk(call: OperatorCall) -> Cost:
    """(input, k, dim, ...): k values and positions of each row; one comparison an element."""
    tensor = call.tensor(0)
    if not tensor.shape:
        return _ordered(tensor, (), flops=1)
    k = call.integer(1) if call.name == "aten::topk" else 1
    axis = call.integer(2) if call.value(2) else -1
    require(0 <= k <= tensor.shape[axis_in(tensor.shape, axis)], "a count")
    return _ordered(tensor, with_axis(tensor.shape, axis, k), flops=tensor.numel)


@cost_model("aten::sort", "aten::msort")
def sort(call: OperatorCall) -> Cost:
    """Values and positions; log2(n) comparisons an element for the longest dimension."""
    tensor = call.tensor(0)
    return _ordered(tensor, tensor.shape, flops=tensor.numel * _comparisons(tensor.shape))


@cost_model("aten::argsort")
def argsort(call: OperatorCall) -> Cost:
    """Positions only."""
    tensor = call.tensor(0)
    moved = tensor.bytes + tensor.like(dtype="long").bytes
    return Cost(tensor.numel * _comparisons(tensor.shape), moved, tensor.dtype, "sort")


def _comparisons(shape: Shape) -> int:
    return max(1, math.ceil(math.log2(max(shape, default=1) or 1)))


def _ordered(tensor: Tensor, shape: Shape, *, flops: int) -> Cost:
    results = tensor.like(shape).bytes + tensor.like(shape, "long").bytes
    return Cost(flops, tensor.bytes + results, tensor.dtype, "sort")


def _result_shape(call: OperatorCall, tensor: Tensor, axes: int) -> Shape:
    """The reduced shape; whether the dimensions are kept changes no count."""
    if not call.concrete:
        msg = "the reduced dimensions were not recorded"
        raise UnderivableError(msg)
    value, follower = call.value(axes), call.value(axes + 1)
    if value in ("", "[]", *_FLAGS) or not tensor.shape or _is_dtype_overload(call):
        return ()
    if value.startswith("["):
        return without_axes(tensor.shape, call.integers(axes))
    require(follower in _FLAGS, "a dimension and whether to keep it")
    return without_axes(tensor.shape, [call.integer(axes)])


def _is_dtype_overload(call: OperatorCall) -> bool:
    """(input, dtype), the overload of sum, mean and prod that reduces everything."""
    return len(call.types) == 2 and call.name in ("aten::sum", "aten::mean", "aten::prod")


def _result_dtype(kind: Reduction, call: OperatorCall, tensor: Tensor) -> str:
    if kind.result is not None:
        return kind.result
    given = call.tensors(kind.axes)
    if given:
        return given[-1].dtype
    place = 1 if _is_dtype_overload(call) else kind.dtype
    requested = None if place is None else call.dtype_argument(place)
    integral = category(tensor.dtype) < Category.FLOATING
    return requested or ("long" if kind.sums_integers and integral else tensor.dtype)
