"""Interpolation, unfolding of windows and sampling on a grid.

Operations for each output element: one selection for nearest, a weighted sum of 2 to 64 neighbours
(a multiplication and an addition each) for the others.
"""

from __future__ import annotations

import math
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Shape, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import per_axis, quotient, require, require_extents

_NEIGHBOURS: Final[dict[str, int]] = {
    "linear1d": 2,
    "bilinear2d": 4,
    "trilinear3d": 8,
    "bicubic2d": 16,
}


def _flops_for_each(name: str) -> int:
    return next((2 * count for kind, count in _NEIGHBOURS.items() if kind in name), 1)


@cost_model("aten::upsample_nearest1d", "aten::upsample_nearest2d", "aten::upsample_nearest3d")
@cost_model("aten::_upsample_nearest_exact1d", "aten::_upsample_nearest_exact2d")
@cost_model("aten::_upsample_nearest_exact3d", "aten::upsample_linear1d")
@cost_model("aten::upsample_bilinear2d", "aten::upsample_bicubic2d", "aten::upsample_trilinear3d")
@cost_model("aten::_upsample_bilinear2d_aa", "aten::_upsample_bicubic2d_aa")
def upsample(call: OperatorCall) -> Cost:
    """(input (N, C, ...), output extents, ...)."""
    tensor, extents = call.tensor(0), call.integers(1)
    require(extents and tensor.rank == len(extents) + 2, "output extents")
    require_extents(extents)
    result = tensor.like((*tensor.shape[:2], *extents))
    flops = _flops_for_each(call.name) * result.numel
    return Cost(flops, tensor.bytes + result.bytes, tensor.dtype, "resampling")


@cost_model("aten::upsample_nearest1d_backward", "aten::upsample_nearest2d_backward")
@cost_model("aten::upsample_nearest3d_backward", "aten::upsample_linear1d_backward")
@cost_model("aten::upsample_bilinear2d_backward", "aten::upsample_bicubic2d_backward")
@cost_model("aten::upsample_trilinear3d_backward")
def upsample_backward(call: OperatorCall) -> Cost:
    """(gradient, output extents, input shape, ...)."""
    gradient, shape = call.tensor(0), call.integers(2)
    require(len(shape) == gradient.rank, "the input's shape")
    require_extents(shape)
    moved = gradient.bytes + gradient.like(shape).bytes
    flops = _flops_for_each(call.name) * gradient.numel
    return Cost(flops, moved, gradient.dtype, "resampling backward")


@cost_model("aten::im2col")
def unfold(call: OperatorCall) -> Cost:
    """(input (N, C, H, W), kernel, dilation, padding, stride): every window becomes a column."""
    tensor = call.tensor(0)
    kernel, dilation, padding, stride = (per_axis(call.integers(place), 2) for place in range(1, 5))
    require(tensor.rank >= 3 and min(*kernel, *stride) > 0, "windows on an image")
    columns = math.prod(
        (tensor.extent(axis - 2) + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in range(2)
    )
    require(columns >= 0, "windows that fit")
    images = math.prod(tensor.shape[:-2])
    result = tensor.like((images, math.prod(kernel), columns))
    return Cost(0, tensor.bytes + result.bytes, "", "unfold")


@cost_model("aten::col2im")
def fold(call: OperatorCall) -> Cost:
    """(columns (N, C·kernel, L), output extents, kernel, ...): overlapping windows are added."""
    columns, extents = call.tensor(0), per_axis(call.integers(1), 2)
    kernel = per_axis(call.integers(2), 2)
    require(columns.rank >= 2, "columns")
    require_extents(extents)
    channels = quotient(columns.shape[-2], max(1, math.prod(kernel)))
    result = columns.like((*columns.shape[:-2], channels, *extents))
    return Cost(columns.numel, columns.bytes + result.bytes, columns.dtype, "fold")


@cost_model("aten::grid_sampler_2d", "aten::grid_sampler_3d", "aten::grid_sampler")
@cost_model("aten::cudnn_grid_sampler")
def grid_sample(call: OperatorCall) -> Cost:
    """(input (N, C, ...), grid (N, ..., rank), mode, ...): nearest (1) selects, else neighbours add."""
    tensor, grid = call.tensor(0), call.tensor(1)
    rank = len(tensor.shape) - 2
    require(rank in (2, 3) and grid.rank == rank + 2, "an image and its grid")
    result = tensor.like(_sampled_shape(tensor, grid))
    neighbours = 16 if call.value(2) == "2" else 1 if call.value(2) == "1" else 1 << rank
    read = min(tensor.bytes, neighbours * result.bytes)
    flops = (2 * neighbours if neighbours > 1 else 1) * result.numel
    return Cost(flops, read + grid.bytes + result.bytes, tensor.dtype, "resampling")


def _sampled_shape(tensor: Tensor, grid: Tensor) -> Shape:
    return (tensor.shape[0], tensor.shape[1], *grid.shape[1:-1])
