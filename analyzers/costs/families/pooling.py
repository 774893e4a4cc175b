"""Pooling over windows: one operation for each window element of each output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Shape
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import per_axis, require, require_extents


@dataclass(frozen=True, slots=True)
class Pooling:
    """Where a pooling operator has its arguments after (input, kernel, stride, padding)."""

    rank: int
    dilation: int | None
    ceil_mode: int
    indices: bool = False


_POOLINGS: Final[dict[str, Pooling]] = {
    "aten::max_pool1d": Pooling(1, 4, 5),
    "aten::max_pool2d": Pooling(2, 4, 5),
    "aten::max_pool3d": Pooling(3, 4, 5),
    "aten::mkldnn_max_pool2d": Pooling(2, 4, 5),
    "aten::mkldnn_max_pool3d": Pooling(3, 4, 5),
    "aten::max_pool2d_with_indices": Pooling(2, 4, 5, indices=True),
    "aten::max_pool3d_with_indices": Pooling(3, 4, 5, indices=True),
    "aten::avg_pool1d": Pooling(1, None, 4),
    "aten::avg_pool2d": Pooling(2, None, 4),
    "aten::avg_pool3d": Pooling(3, None, 4),
}


def pool(kind: Pooling, call: OperatorCall) -> Cost:
    """(input (..., extents), kernel, stride, padding, [dilation,] ceil_mode, ...)."""
    tensor = call.tensor(0)
    require(tensor.rank > kind.rank, "channels and extents")
    kernel = per_axis(call.integers(1), kind.rank)
    extents = _pooled_extents(kind, call, tensor.shape[-kind.rank :], kernel)
    result = tensor.like((*tensor.shape[: -kind.rank], *extents))
    indices = result.like(dtype="long").bytes if kind.indices else 0
    moved = tensor.bytes + result.bytes + indices
    return Cost(result.numel * math.prod(kernel), moved, tensor.dtype, "pooling")


for _name, _pooling in _POOLINGS.items():
    cost_model(_name)(partial(pool, _pooling))


@cost_model("aten::_adaptive_avg_pool2d", "aten::_adaptive_avg_pool3d", "aten::adaptive_avg_pool1d")
@cost_model("aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d")
@cost_model("aten::mkldnn_adaptive_avg_pool2d")
def adaptive_average(call: OperatorCall) -> Cost:
    """(input, output extents): each input element is added at least once."""
    tensor, extents = call.tensor(0), call.integers(1)
    require(0 < len(extents) < tensor.rank, "output extents")
    require_extents(extents)
    result = tensor.like((*tensor.shape[: -len(extents)], *extents))
    flops = max(tensor.numel, result.numel)
    return Cost(flops, tensor.bytes + result.bytes, tensor.dtype, "pooling")


@cost_model("aten::max_pool2d_with_indices_backward", "aten::max_pool3d_with_indices_backward")
def max_pool_backward(call: OperatorCall) -> Cost:
    """(gradient, input, ..., indices, [result]): the input only gives its shape."""
    gradient, tensor, indices = call.tensor(0), call.tensor(1), call.tensor(7)
    moved = gradient.bytes + indices.bytes + tensor.like().bytes
    return Cost(gradient.numel, moved, gradient.dtype, "pooling backward")


@cost_model("aten::avg_pool2d_backward", "aten::avg_pool3d_backward")
def average_pool_backward(call: OperatorCall) -> Cost:
    """(gradient, input, kernel, ...): each gradient is spread over its window."""
    gradient, tensor, kernel = call.tensor(0), call.tensor(1), call.integers(2)
    moved = gradient.bytes + tensor.like().bytes
    rank = 2 if "2d" in call.name else 3
    flops = gradient.numel * math.prod(per_axis(kernel, rank))
    return Cost(flops, moved, gradient.dtype, "pooling backward")


@cost_model("aten::_adaptive_avg_pool2d_backward", "aten::_adaptive_avg_pool3d_backward")
def adaptive_average_backward(call: OperatorCall) -> Cost:
    """(gradient, input): the input only gives its shape."""
    gradient, tensor = call.tensor(0), call.tensor(1)
    moved = gradient.bytes + tensor.like().bytes
    return Cost(max(gradient.numel, tensor.numel), moved, gradient.dtype, "pooling backward")


def _pooled_extents(kind: Pooling, call: OperatorCall, extents: Shape, kernel: Shape) -> Shape:
    rank = kind.rank
    stride = kernel if call.value(2) == "[]" else per_axis(call.integers(2), rank)
    padding = per_axis(call.integers(3), rank)
    dilation = (
        (1,) * rank if kind.dilation is None else per_axis(call.integers(kind.dilation), rank)
    )
    ceil_mode = call.flag(kind.ceil_mode)
    return tuple(
        _extent(
            extents[axis] + 2 * padding[axis],
            dilation[axis] * (kernel[axis] - 1) + 1,
            stride[axis],
            last_start=extents[axis] + padding[axis] if ceil_mode else None,
        )
        for axis in range(rank)
    )


def _extent(padded: int, reach: int, stride: int, *, last_start: int | None) -> int:
    """Windows in a padded extent; in ceil mode the last may overhang but not start in the padding."""
    require(stride > 0 and reach > 0 and padded >= reach, "a window that fits")
    if last_start is None:
        return (padded - reach) // stride + 1
    windows = -(-(padded - reach) // stride) + 1
    return windows - 1 if (windows - 1) * stride >= last_start else windows
