"""Matrix products on scaled low-precision operands: ATen's and those of the serving libraries.

Only operators whose operand layout their own schema fixes: vLLM ``csrc/torch_bindings.cpp``, SGLang
``sgl-kernel`` ``common_extension.cc``, aiter ``ops/gemm_op_a8w8.py`` and ``ops/gradlib.py``,
bitsandbytes ``_ops.py``, TensorRT-LLM ``cublasScaledMM.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.dtypes import PACKED_FLOAT4
from mmprof.analyzers.costs.families.matmul import product, transposed
from mmprof.analyzers.costs.registry import cost_model


@dataclass(frozen=True, slots=True)
class GemmLayout:
    """Where the arguments of a product lie; scales and other small operands are the rest."""

    a: int = 0
    b: int = 1
    result: int | None = None
    bias: int | None = None
    result_dtype: int | None = None
    weight_rows: bool = False  # b is (N, K) instead of (K, N)


_LAYOUTS: Final[dict[str, GemmLayout]] = {
    "aten::_scaled_mm": GemmLayout(bias=4, result_dtype=6),
    "trtllm::cublas_scaled_mm": GemmLayout(bias=4, result_dtype=5),
    "sgl_kernel::fp8_scaled_mm": GemmLayout(bias=5, result_dtype=4),
    "sgl_kernel::int8_scaled_mm": GemmLayout(bias=5, result_dtype=4),
    "_C::cutlass_scaled_mm": GemmLayout(a=1, b=2, result=0, bias=5),
    "_C::cutlass_scaled_mm_azp": GemmLayout(a=1, b=2, result=0, bias=7),
    "aiter::hipb_mm": GemmLayout(bias=3, result_dtype=4),
    "_gradlib_C::hipb_mm": GemmLayout(bias=3, result_dtype=4),
    "aiter::gemm_a8w8_ck": GemmLayout(result=4, bias=5, weight_rows=True),
    "aiter::gemm_a8w8_bpreshuffle_ck": GemmLayout(result=4, weight_rows=True),
    "aiter::gemm_a8w8_blockscale_ck": GemmLayout(result=4, weight_rows=True),
    "aiter::gemm_a8w8_blockscale_bpreshuffle_ck": GemmLayout(result=4, weight_rows=True),
}


def scaled_product(layout: GemmLayout, call: OperatorCall) -> Cost:
    """``a @ b (+ bias)`` with scales; the arithmetic runs in the type of ``a``."""
    a, b = (
        _unpacked(call.tensor(layout.a)),
        _unpacked(call.tensor(layout.b), rows=layout.weight_rows),
    )
    bias = None if layout.bias is None else call.optional_tensor(layout.bias)
    cost = product(
        a,
        transposed(b) if layout.weight_rows else b,
        bias=bias,
        result_dtype=_result_dtype(layout, call),
        also_read=_scales(layout, call),
    )
    return Cost(cost.flops, cost.bytes - _packing(call, layout), cost.dtype, "scaled matmul")


for _name, _layout in _LAYOUTS.items():
    cost_model(_name)(partial(scaled_product, _layout))


@cost_model("bitsandbytes::int8_linear_matmul")
def int8_linear(call: OperatorCall) -> Cost:
    """int8 activations (..., K) and weight (N, K), written in int32."""
    return product(call.tensor(0), transposed(call.tensor(1)), result_dtype="int")


@cost_model("_C::cutlass_scaled_fp4_mm")
def float4_product(call: OperatorCall) -> Cost:
    """(out, a (M, K/2), b (N, K/2), scales of a, scales of b, alpha), two values in each byte."""
    result, a, b = call.tensor(0), call.tensor(1), call.tensor(2)
    cost = product(a, transposed(b), result_dtype=result.dtype, also_read=call.tensors(3))
    return Cost(2 * cost.flops, cost.bytes, PACKED_FLOAT4, "scaled matmul")


def _unpacked(operand: Tensor, *, rows: bool = True) -> Tensor:
    if operand.dtype != PACKED_FLOAT4 or operand.rank != 2:
        return operand
    outer, inner = operand.shape
    return operand.like((outer, 2 * inner) if rows else (2 * outer, inner))


def _packing(call: OperatorCall, layout: GemmLayout) -> int:
    packed = (call.tensor(index) for index in (layout.a, layout.b))
    return sum(operand.bytes for operand in packed if operand.dtype == PACKED_FLOAT4)


def _result_dtype(layout: GemmLayout, call: OperatorCall) -> str | None:
    if layout.result is not None:
        return call.tensor(layout.result).dtype
    return None if layout.result_dtype is None else call.dtype_argument(layout.result_dtype)


def _scales(layout: GemmLayout, call: OperatorCall) -> list[Tensor]:
    known = (layout.a, layout.b, layout.result, layout.bias)
    indices = (index for index in range(len(call.types)) if index not in known)
    tensors = (call.optional_tensor(index) for index in indices)
    return [tensor for tensor in tensors if tensor]
