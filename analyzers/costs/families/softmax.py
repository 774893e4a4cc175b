"""Softmax and its relatives over one dimension.

Operations an element, forward: find the maximum, subtract it, exponentiate, sum, divide (or, for
the logarithm, subtract). Backward: multiply, sum, subtract, multiply.
"""

from __future__ import annotations

from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall
from mmprof.analyzers.costs.registry import cost_model

FORWARD_FLOPS: Final = 5
BACKWARD_FLOPS: Final = 4


@cost_model("aten::_softmax", "aten::_log_softmax")
def softmax(call: OperatorCall) -> Cost:
    """(input, dim, half_to_float): with the flag, a half-precision input gives a float result."""
    tensor = call.tensor(0)
    widened = tensor.dtype == "c10::Half" and call.value(2) == "True"
    result = tensor.like(dtype="float" if widened else None)
    moved = tensor.bytes + result.bytes
    return Cost(FORWARD_FLOPS * tensor.numel, moved, tensor.dtype, "softmax")


@cost_model("aten::softmax", "aten::log_softmax", "aten::special_softmax", "aten::_safe_softmax")
def composite_softmax(call: OperatorCall) -> Cost:
    """(input, dim, dtype)."""
    tensor = call.tensor(0)
    result = tensor.like(dtype=call.dtype_argument(2))
    moved = tensor.bytes + result.bytes
    return Cost(FORWARD_FLOPS * tensor.numel, moved, result.dtype, "softmax")


@cost_model("aten::_masked_softmax")
def masked_softmax(call: OperatorCall) -> Cost:
    """(input, mask, dim, mask type): one selection more an element."""
    tensor, mask = call.tensor(0), call.tensor(1)
    moved = tensor.bytes + mask.bytes + tensor.like().bytes
    return Cost((FORWARD_FLOPS + 1) * tensor.numel, moved, tensor.dtype, "softmax")


@cost_model("aten::_softmax_backward_data", "aten::_log_softmax_backward_data")
@cost_model("aten::_masked_softmax_backward")
def softmax_backward(call: OperatorCall) -> Cost:
    """(gradient, output, ...): the result is like the gradient."""
    gradient, output = call.tensor(0), call.tensor(1)
    moved = gradient.bytes + output.bytes + gradient.like().bytes
    return Cost(BACKWARD_FLOPS * output.numel, moved, gradient.dtype, "softmax backward")
