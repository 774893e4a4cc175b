"""Convolutions of any rank: 2 operations a weight for each output position it touches.

2·N·Cout·(output positions)·(Cin/groups)·(kernel size), the input's positions instead of the
output's when transposed (torch.utils.flop_counter ``conv_flop_count``); a bias adds one operation
an output element. The output's extents are computed from the recorded strides, paddings and
dilations (torch.nn.Conv2d, torch.nn.ConvTranspose2d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Shape, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import per_axis, quotient, require

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Signature:
    """Where a forward convolution has its arguments; None for one it does not have."""

    stride: int
    padding: int
    dilation: int | None
    bias: int | None = None
    output_padding: int | None = None
    groups: int | None = None
    always_transposed: bool = False
    transposed_flag: int | None = None
    also_read: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How the kernel walks, one value for each spatial axis."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    output_padding: Shape
    transposed: bool
    groups: int


_GENERAL: Final = Signature(3, 4, 5, bias=2, output_padding=7, groups=8, transposed_flag=6)
_PADDING_FIRST: Final = Signature(4, 3, 5, bias=2)
_WITH_KERNEL_SIZE: Final = Signature(4, 5, None, bias=3)
_DILATED: Final = Signature(4, 5, 6, bias=3)
_SLOW_TRANSPOSED: Final = Signature(4, 5, 7, bias=3, output_padding=6, always_transposed=True)
_COMPOSITE: Final = Signature(3, 4, 5, bias=2)
_COMPOSITE_TRANSPOSED: Final = Signature(
    3, 4, 7, bias=2, output_padding=5, groups=6, always_transposed=True
)

_SIGNATURES: Final[dict[str, Signature]] = {
    "aten::convolution": _GENERAL,
    "aten::_convolution": _GENERAL,
    "aten::convolution_overrideable": _GENERAL,
    "aten::conv1d": _COMPOSITE,
    "aten::conv2d": _COMPOSITE,
    "aten::conv3d": _COMPOSITE,
    "aten::conv_transpose1d": _COMPOSITE_TRANSPOSED,
    "aten::conv_transpose2d": _COMPOSITE_TRANSPOSED,
    "aten::conv_transpose3d": _COMPOSITE_TRANSPOSED,
    "aten::cudnn_convolution": Signature(3, 2, 4),
    "aten::cudnn_convolution_transpose": Signature(
        4, 2, 5, output_padding=3, groups=6, always_transposed=True
    ),
    "aten::cudnn_convolution_relu": Signature(3, 4, 5, bias=2),
    "aten::cudnn_convolution_add_relu": Signature(5, 6, 7, bias=4, also_read=2),
    "aten::miopen_convolution": _PADDING_FIRST,
    "aten::miopen_depthwise_convolution": _PADDING_FIRST,
    "aten::miopen_convolution_relu": Signature(3, 4, 5, bias=2),
    "aten::miopen_convolution_transpose": Signature(
        5, 3, 6, bias=2, output_padding=4, groups=7, always_transposed=True
    ),
    "aten::mkldnn_convolution": _PADDING_FIRST,
    "mkldnn::_convolution_pointwise": _PADDING_FIRST,
    "aten::thnn_conv2d": _WITH_KERNEL_SIZE,
    "aten::_slow_conv2d_forward": _WITH_KERNEL_SIZE,
    "aten::slow_conv3d": _WITH_KERNEL_SIZE,
    "aten::slow_conv3d_forward": _WITH_KERNEL_SIZE,
    "aten::slow_conv_dilated2d": _DILATED,
    "aten::slow_conv_dilated3d": _DILATED,
    "aten::_conv_depthwise2d": _DILATED,
    "aten::conv_depthwise3d": _DILATED,
    "aten::slow_conv_transpose2d": _SLOW_TRANSPOSED,
    "aten::slow_conv_transpose3d": _SLOW_TRANSPOSED,
}


def convolution(signature: Signature, call: OperatorCall) -> Cost:
    """Cost of one forward convolution; input (N, Cin, ...), weight (Cout, Cin/groups, ...)."""
    tensor, weight = call.tensor(0), call.tensor(1)
    bias = None if signature.bias is None else call.optional_tensor(signature.bias)
    window = _window(signature, call, weight)
    result = tensor.like(_result_shape(tensor.shape, weight.shape, window))
    flops = _multiply_adds(tensor.shape, weight.shape, result.shape, transposed=window.transposed)
    other = None if signature.also_read is None else call.optional_tensor(signature.also_read)
    operands = [tensor, weight, result, *(extra for extra in (bias, other) if extra)]
    return Cost(
        flops=2 * flops + (result.numel if bias else 0),
        bytes=sum(operand.bytes for operand in operands),
        dtype=tensor.dtype,
        model="convolution",
    )


for _name, _signature in _SIGNATURES.items():
    cost_model(_name)(partial(convolution, _signature))


@cost_model("aten::convolution_backward", "aten::convolution_backward_overrideable")
def convolution_backward(call: OperatorCall) -> Cost:
    """(gradient, input, weight, bias sizes, ..., transposed, ..., groups, output mask).

    The gradients of input and weight cost as much as the forward pass each, the bias gradient one
    addition an element (torch.utils.flop_counter ``conv_backward_flop``).
    """
    mask = call.flags(10 if call.name == "aten::convolution_backward" else 9)
    transposed = call.flag(7 if call.name == "aten::convolution_backward" else 6)
    gradient, tensor, weight = call.tensor(0), call.tensor(1), call.tensor(2)
    require(len(mask) == 3, "a flag for input, weight and bias")
    forward = _multiply_adds(tensor.shape, weight.shape, gradient.shape, transposed=transposed)
    bias_flops = gradient.numel if mask[2] else 0
    written = _selected(mask, (tensor.like().bytes, weight.like().bytes, 0))
    return Cost(
        flops=2 * forward * (mask[0] + mask[1]) + bias_flops,
        bytes=gradient.bytes + _selected(mask[1::-1], (tensor.bytes, weight.bytes)) + written,
        dtype=gradient.dtype,
        model="convolution backward",
    )


def _selected(mask: Iterable[bool], amounts: Iterable[int]) -> int:
    return sum(amount for wanted, amount in zip(mask, amounts, strict=False) if wanted)


def _multiply_adds(tensor: Shape, weight: Shape, result: Shape, *, transposed: bool) -> int:
    """Every input element of a transposed convolution meets a whole filter; else every output one."""
    require(len(tensor) == len(weight) == len(result) > 2, "batched convolution operands")
    if transposed:
        require(tensor[1] == weight[0], "channels that match")
        return math.prod(tensor) * math.prod(weight[1:])
    require(result[1] == weight[0], "channels that match")
    quotient(tensor[1], weight[1])
    return math.prod(result) * math.prod(weight[1:])


def _window(signature: Signature, call: OperatorCall, weight: Tensor) -> Window:
    transposed = signature.always_transposed
    if signature.transposed_flag is not None:
        transposed = call.flag(signature.transposed_flag)
    kernel = weight.shape[2:]
    rank = len(kernel)
    return Window(
        kernel=kernel,
        stride=per_axis(call.integers(signature.stride), rank),
        padding=per_axis(call.integers(signature.padding), rank),
        dilation=_optional_per_axis(call, signature.dilation, (1,) * rank),
        output_padding=_optional_per_axis(call, signature.output_padding, (0,) * rank),
        transposed=transposed,
        groups=1 if signature.groups is None else call.integer(signature.groups),
    )


def _optional_per_axis(call: OperatorCall, index: int | None, default: Shape) -> Shape:
    return default if index is None else per_axis(call.integers(index), len(default))


def _result_shape(tensor: Shape, weight: Shape, window: Window) -> Shape:
    require(len(tensor) == len(weight) > 2 and min(weight) > 0, "batched convolution operands")
    extents = (_result_extent(tensor[axis + 2], window, axis) for axis in range(len(window.kernel)))
    if not window.transposed:
        return (tensor[0], weight[0], *extents)
    return (tensor[0], weight[1] * window.groups, *extents)


def _result_extent(extent: int, window: Window, axis: int) -> int:
    reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
    stride, padding = window.stride[axis], window.padding[axis]
    require(stride > 0, "a stride")
    if window.transposed:
        result = (extent - 1) * stride - 2 * padding + reach + window.output_padding[axis]
    else:
        result = (extent + 2 * padding - reach) // stride + 1
    require(result >= 0, "an output")
    return result
