"""Conversion to and from quantized types.

Where scales are found on the way, the input is also reduced to its largest magnitude: 2 operations
an element more than the scaling, rounding and clamping (3).
"""

from __future__ import annotations

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model

_QUANTIZE, _FIND_SCALE, _DEQUANTIZE = 3, 2, 2


def _touched(call: OperatorCall, elements: Tensor, flops: int) -> Cost:
    moved = sum(operand.bytes for operand in call.tensors())
    return Cost(flops * elements.numel, moved, elements.dtype, "quantize")


@cost_model("_C::static_scaled_fp8_quant", "_C::static_scaled_int8_quant", "_C::scaled_fp4_quant")
@cost_model("aiter::static_scaled_fp8_quant", "aiter::static_per_tensor_quant")
def quantize_into(call: OperatorCall) -> Cost:
    """(result, input, scale, ...): vLLM ``torch_bindings.cpp``."""
    return _touched(call, call.tensor(1), _QUANTIZE)


@cost_model("_C::dynamic_scaled_fp8_quant", "_C::dynamic_per_token_scaled_fp8_quant")
@cost_model("_C::dynamic_scaled_int8_quant", "aiter::dynamic_per_token_scaled_quant")
@cost_model("aiter::dynamic_per_tensor_quant")
def quantize_and_scale_into(call: OperatorCall) -> Cost:
    """(result, input, scale, ...): the scale is found and written."""
    return _touched(call, call.tensor(1), _QUANTIZE + _FIND_SCALE)


@cost_model("_C::per_token_group_fp8_quant", "_C::per_token_group_quant_int8")
@cost_model("sgl_kernel::sgl_per_token_group_quant_8bit", "sgl_kernel::sgl_per_token_quant_fp8")
def quantize_groups(call: OperatorCall) -> Cost:
    """(input, result, scales, ...)."""
    return _touched(call, call.tensor(0), _QUANTIZE + _FIND_SCALE)


@cost_model("aten::quantize_per_tensor", "quantized_decomposed::quantize_per_tensor")
def quantize_per_tensor(call: OperatorCall) -> Cost:
    """(input, scale, zero point, ..., dtype): one byte an element but for the 32-bit type."""
    tensor = call.tensor(0)
    place = 3 if call.name.startswith("aten") else 5
    dtype = call.dtype_argument(place) or "c10::quint8"
    moved = sum(operand.bytes for operand in call.tensors()) + tensor.like(dtype=dtype).bytes
    return Cost(_QUANTIZE * tensor.numel, moved, tensor.dtype, "quantize")


@cost_model("aten::dequantize")
def dequantize(call: OperatorCall) -> Cost:
    """(input): subtract the zero point and scale, into float."""
    tensor = call.tensor(0)
    moved = tensor.bytes + tensor.like(dtype="float").bytes
    return Cost(_DEQUANTIZE * tensor.numel, moved, "float", "quantize")


@cost_model("aten::fake_quantize_per_tensor_affine_cachemask")
@cost_model("aten::fake_quantize_per_channel_affine_cachemask")
def fake_quantize(call: OperatorCall) -> Cost:
    """(input, scale, zero point, ...): quantized and back, with a mask of one byte an element."""
    tensor = call.tensor(0)
    moved = sum(operand.bytes for operand in call.tensors()) + tensor.like().bytes + tensor.numel
    return Cost((_QUANTIZE + _DEQUANTIZE) * tensor.numel, moved, tensor.dtype, "quantize")
