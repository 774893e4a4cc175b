"""Layer, group, batch and RMS normalization, ATen's and the serving libraries'.

Operations an element: the mean (1), subtracting it and the variance (3), scaling (2), and 2 for an
affine weight and bias; RMS needs no mean: square, sum, scale (3) and the weight (1). In backward,
the normalized input is recomputed (2), the gradient weighted (1), two means taken (3), the input
gradient formed (4) and weight and bias gradients summed (3). The per-row statistics that training
saves are not counted: two numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model

NORM_FLOPS: Final = 6
FIXED_STATISTICS_FLOPS: Final = 2
RMS_FLOPS: Final = 3
NORM_BACKWARD_FLOPS: Final = 10
RMS_BACKWARD_FLOPS: Final = 7


@dataclass(frozen=True, slots=True)
class Backward:
    """Where a backward operator has its arguments; ``flops`` an element without the affine part."""

    gradient: int
    input: int
    weight: int
    flops: int
    affine_flops: int = 3
    affine_gradients: int = 2


_BACKWARD: Final[dict[str, Backward]] = {
    "aten::native_layer_norm_backward": Backward(0, 1, 5, NORM_BACKWARD_FLOPS),
    "aten::native_group_norm_backward": Backward(0, 1, 4, NORM_BACKWARD_FLOPS),
    "aten::native_batch_norm_backward": Backward(0, 1, 2, NORM_BACKWARD_FLOPS),
    "aten::batch_norm_backward": Backward(0, 1, 2, NORM_BACKWARD_FLOPS),
    "aten::cudnn_batch_norm_backward": Backward(1, 0, 2, NORM_BACKWARD_FLOPS),
    "aten::miopen_batch_norm_backward": Backward(1, 0, 2, NORM_BACKWARD_FLOPS),
    "aten::_fused_rms_norm_backward": Backward(
        0, 1, 4, RMS_BACKWARD_FLOPS, affine_flops=2, affine_gradients=1
    ),
}


def _forward_cost(call: OperatorCall, flops: int) -> Cost:
    """Every tensor argument is read once, one result like the input is written."""
    tensor = call.tensor(0)
    moved = sum(operand.bytes for operand in call.tensors()) + tensor.like().bytes
    return Cost(flops * tensor.numel, moved, tensor.dtype, "normalization")


def _affine(call: OperatorCall, weight: int) -> int:
    given = (call.optional_tensor(weight), call.optional_tensor(weight + 1))
    return sum(1 for tensor in given if tensor)


@cost_model("aten::native_layer_norm", "aten::layer_norm")
def layer_norm(call: OperatorCall) -> Cost:
    """(input, normalized_shape, weight, bias, eps)."""
    return _forward_cost(call, NORM_FLOPS + _affine(call, 2))


@cost_model("aten::native_group_norm")
def group_norm(call: OperatorCall) -> Cost:
    """(input, weight, bias, ...)."""
    return _forward_cost(call, NORM_FLOPS + _affine(call, 1))


@cost_model("aten::group_norm", "aiter::_groupnorm_run")
def group_norm_by_groups(call: OperatorCall) -> Cost:
    """(input, groups, weight, bias, ...)."""
    return _forward_cost(call, NORM_FLOPS + _affine(call, 2))


@cost_model("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm")
@cost_model("aten::_native_batch_norm_legit", "aten::batch_norm", "aten::_batch_norm_impl_index")
@cost_model("aten::instance_norm")
def batch_norm(call: OperatorCall) -> Cost:
    """(input, weight, bias, running mean, running variance, training, ...).

    Without training the statistics are given: only scaling is left. An unrecorded flag counts as
    training.
    """
    fixed = call.value(5) == "False"
    flops = FIXED_STATISTICS_FLOPS if fixed else NORM_FLOPS
    return _forward_cost(call, flops + _affine(call, 1))


@cost_model("aten::_batch_norm_with_update", "aten::_batch_norm_with_update_functional")
def batch_norm_in_training(call: OperatorCall) -> Cost:
    """(input, weight, bias, running mean, running variance, ...)."""
    return _forward_cost(call, NORM_FLOPS + _affine(call, 1))


@cost_model("aten::_batch_norm_no_update", "aten::batch_norm_elemt")
def batch_norm_in_evaluation(call: OperatorCall) -> Cost:
    """(input, weight, bias, mean, variance, ...)."""
    return _forward_cost(call, FIXED_STATISTICS_FLOPS + _affine(call, 1))


@cost_model("aten::batch_norm_stats")
def batch_norm_statistics(call: OperatorCall) -> Cost:
    """(input, eps): mean and variance, read only."""
    tensor = call.tensor(0)
    return Cost(4 * tensor.numel, tensor.bytes, tensor.dtype, "normalization")


@cost_model("aten::_fused_rms_norm", "aten::rms_norm")
def rms_norm(call: OperatorCall) -> Cost:
    """(input, normalized_shape, weight, eps)."""
    return _forward_cost(call, RMS_FLOPS + (1 if call.optional_tensor(2) else 0))


@cost_model("vllm::rocm_aiter_rms_norm", "aiter::rms_norm", "fb::rms_norm")
def weighted_rms_norm(call: OperatorCall) -> Cost:
    """(input, weight, ...): the result is returned."""
    return _forward_cost(call, RMS_FLOPS + 1)


@cost_model("_C::rms_norm", "sgl_kernel::rmsnorm", "_C::rms_norm_static_fp8_quant")
@cost_model("sgl_kernel::gemma_rmsnorm")
def rms_norm_into(call: OperatorCall) -> Cost:
    """(result, input, weight, ...): the result is an argument (vLLM ``torch_bindings.cpp``)."""
    return _touch_each(call, call.tensor(1), RMS_FLOPS + 1)


@cost_model("_C::fused_add_rms_norm", "sgl_kernel::fused_add_rmsnorm")
@cost_model("sgl_kernel::gemma_fused_add_rmsnorm")
def rms_norm_with_residual_in_place(call: OperatorCall) -> Cost:
    """(input, residual, weight, ...): the first two are read and overwritten."""
    tensor, residual = call.tensor(0), call.tensor(1)
    once = _touch_each(call, tensor, RMS_FLOPS + 2)
    return Cost(once.flops, once.bytes + tensor.bytes + residual.bytes, once.dtype, once.model)


@cost_model("_C::fused_add_rms_norm_static_fp8_quant")
def quantized_rms_norm_with_residual(call: OperatorCall) -> Cost:
    """(result, input, residual, weight, scale, eps): the residual is read and overwritten."""
    once = _touch_each(call, call.tensor(1), RMS_FLOPS + 3)
    return Cost(once.flops, once.bytes + call.tensor(2).bytes, once.dtype, once.model)


@cost_model("vllm::rocm_aiter_rmsnorm2d_fwd_with_add")
def rms_norm_with_residual(call: OperatorCall) -> Cost:
    """(input, residual, weight, eps): returns the result and the new residual."""
    tensor = call.tensor(0)
    once = _touch_each(call, tensor, RMS_FLOPS + 2)
    written = tensor.like().bytes + call.tensor(1).like().bytes
    return Cost(once.flops, once.bytes + written, once.dtype, once.model)


@cost_model("aiter::rmsnorm2d_fwd_with_add_ck", "aiter::rmsnorm2d_fwd_with_add")
def rms_norm_with_residual_into(call: OperatorCall) -> Cost:
    """(result, input, residual, new residual, weight, ...), each read or written once."""
    return _touch_each(call, call.tensor(1), RMS_FLOPS + 2)


def norm_backward(signature: Backward, call: OperatorCall) -> Cost:
    """Gradients of the input and, with a weight, of weight and bias."""
    gradient, tensor = call.tensor(signature.gradient), call.tensor(signature.input)
    weight = call.optional_tensor(signature.weight)
    flops = signature.flops + (signature.affine_flops if weight else 0)
    written = tensor.like().bytes
    if weight:
        written += signature.affine_gradients * weight.like().bytes
    moved = sum(operand.bytes for operand in call.tensors()) + written
    return Cost(flops * tensor.numel, moved, gradient.dtype, "normalization backward")


for _name, _signature in _BACKWARD.items():
    cost_model(_name)(partial(norm_backward, _signature))


def _touch_each(call: OperatorCall, rows: Tensor, flops: int) -> Cost:
    moved = sum(operand.bytes for operand in call.tensors())
    return Cost(flops * rows.numel, moved, rows.dtype, "normalization")
