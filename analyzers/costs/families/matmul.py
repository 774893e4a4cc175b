"""Dense matrix products of ATen and oneDNN: 2·B·M·N·K, and B·M·N for an added bias.

Source: torch.utils.flop_counter (``mm_flop``, ``bmm_flop``, ``baddbmm_flop``) for the product. The
counter leaves the bias out; TraceLens counts it, and so does this model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import broadcast, quotient, require

if TYPE_CHECKING:
    from collections.abc import Iterable


def product(
    a: Tensor,
    b: Tensor,
    *,
    bias: Tensor | None = None,
    result_dtype: str | None = None,
    also_read: Iterable[Tensor] = (),
) -> Cost:
    """Cost of ``a @ b (+ bias)`` as torch.matmul defines it, vectors and broadcast batches included.

    Raises:
        UnderivableError: the shapes do not multiply.
    """
    left = a.shape if a.rank > 1 else (1, *a.shape)
    right = b.shape if b.rank > 1 else (*b.shape, 1)
    require(a.shape and b.shape and left[-1] == right[-2], "matrices that multiply")
    batch = broadcast([left[:-2], right[:-2]])
    result = Tensor((*batch, left[-2], right[-1]), result_dtype or a.dtype)
    operands = [a, b, result, *also_read, *([bias] if bias else [])]
    return Cost(
        flops=result.numel * (2 * left[-1] + (1 if bias else 0)),
        bytes=sum(operand.bytes for operand in operands),
        dtype=a.dtype,
        model="matmul",
    )


def transposed(matrix: Tensor) -> Tensor:
    """The same elements with the last two dimensions swapped."""
    require(matrix.rank > 1, "a matrix")
    strides = matrix.strides
    swapped = (*strides[:-2], strides[-1], strides[-2]) if len(strides) > 1 else ()
    return Tensor((*matrix.shape[:-2], matrix.shape[-1], matrix.shape[-2]), matrix.dtype, swapped)


@cost_model("aten::mm", "aten::bmm", "aten::matmul", "aten::mv", "aten::dot", "aten::vdot")
def plain_product(call: OperatorCall) -> Cost:
    """``a @ b``."""
    return product(call.tensor(0), call.tensor(1))


@cost_model("aten::addmm", "aten::addmm_", "aten::_addmm_activation", "aten::addmv", "aten::addmv_")
@cost_model("aten::baddbmm", "aten::baddbmm_")
def biased_product(call: OperatorCall) -> Cost:
    """``beta * bias + alpha * a @ b``; the bias is neither read nor added where beta is 0."""
    bias = None if call.value(3) == "0" else call.tensor(0)
    return product(call.tensor(1), call.tensor(2), bias=bias)


@cost_model("aten::addbmm", "aten::addbmm_")
def summed_batch_product(call: OperatorCall) -> Cost:
    """``bias + sum over the batch of a @ b``: one accumulation more than K for each batch."""
    bias, a, b = call.tensor(0), call.tensor(1), call.tensor(2)
    whole = product(a, b)
    result = Tensor((a.extent(-2), b.extent(-1)), a.dtype)
    moved = a.bytes + b.bytes + bias.bytes + result.bytes
    return Cost(whole.flops + result.numel, moved, whole.dtype, whole.model)


@cost_model("aten::linear", "aten::mkldnn_linear", "vllm::rocm_unquantized_gemm")
@cost_model("vllm::rocm_unquantized_gemm_impl")
def linear(call: OperatorCall) -> Cost:
    """``input @ weight.T (+ bias)``, weight (N, K)."""
    return product(call.tensor(0), transposed(call.tensor(1)), bias=call.optional_tensor(2))


@cost_model("mkl::_mkl_linear")
def mkl_linear(call: OperatorCall) -> Cost:
    """(input, packed weight, weight (N, K), bias, batch): the packed copy is the one that is read."""
    return product(call.tensor(0), transposed(call.tensor(2)), bias=call.optional_tensor(3))


@cost_model("mkldnn::_linear_pointwise")
def pointwise_linear(call: OperatorCall) -> Cost:
    """(input, weight, bias, ...), or with a fused binary operand (input, other, weight, bias, ...)."""
    third = call.optional_tensor(2)
    if third is None or third.rank < 2:
        return product(call.tensor(0), transposed(call.tensor(1)), bias=third)
    return product(
        call.tensor(0),
        transposed(third),
        bias=call.optional_tensor(3),
        also_read=[call.tensor(1)],
    )


@cost_model("aten::_int_mm")
def integer_product(call: OperatorCall) -> Cost:
    """int8 @ int8 accumulated and written in int32."""
    return product(call.tensor(0), call.tensor(1), result_dtype="int")


@cost_model("aten::_grouped_mm", "aten::_scaled_grouped_mm")
def grouped_product(call: OperatorCall) -> Cost:
    """One product a group; the groups cut M (2-D @ 3-D), N (3-D @ 2-D) or K (2-D @ 2-D) between them.

    Rows which the offsets leave out are counted: the offsets' values are not recorded.
    """
    a, b = call.tensor(0), call.tensor(1)
    m, k, n = a.extent(-2), a.extent(-1), b.extent(-1)
    require(max(a.rank, b.rank) < 4 and k == b.extent(-2), "matrices that multiply")
    groups, batched = _groups(call, a, b), a.rank == b.rank
    result = Tensor((groups if batched else 1, m, n), _grouped_dtype(call) or a.dtype)
    offsets = call.tensors(2)
    flops = 2 * m * n * k * (groups if batched and a.rank == 3 else 1)
    moved = sum(tensor.bytes for tensor in (a, b, result, *offsets))
    return Cost(flops, moved, a.dtype, "grouped matmul")


def _groups(call: OperatorCall, a: Tensor, b: Tensor) -> int:
    for matrix in (a, b):
        if matrix.rank == 3:
            return matrix.shape[0]
    scales = 2 if call.name == "aten::_scaled_grouped_mm" else 0
    return math.prod(call.tensor(2 + scales).shape)


def _grouped_dtype(call: OperatorCall) -> str | None:
    if call.name == "aten::_grouped_mm":
        return call.dtype_argument(4)
    return call.dtype_argument(7) or "c10::BFloat16"


@cost_model("aten::_weight_int8pack_mm")
def int8_weight_product(call: OperatorCall) -> Cost:
    """(input (M, K), int8 weight (N, K), scales (N)), computed in the input's type."""
    scales = call.tensor(2)
    return product(call.tensor(0), transposed(call.tensor(1)), also_read=[scales])


@cost_model("aten::_weight_int4pack_mm", "aten::_weight_int4pack_mm_for_cpu")
def int4_weight_product(call: OperatorCall) -> Cost:
    """(input (M, K), packed weight, group size, scales and zeros): 4 bits of weight an element.

    CUDA packs (N/8, K/tile, 32, tile/2), the CPU (N, K/2) bytes; both hold N·K nibbles.
    """
    a, packed = call.tensor(0), call.tensor(1)
    require(a.rank == 2, "a matrix")
    m, k = a.shape
    result = Tensor((m, quotient(2 * packed.bytes, max(k, 1))), a.dtype)
    moved = sum(tensor.bytes for tensor in (a, packed, result, call.tensor(3)))
    return Cost(2 * result.numel * k, moved, a.dtype, "matmul")


@cost_model("aten::_dyn_quant_matmul_4bit")
def dynamic_int4_product(call: OperatorCall) -> Cost:
    """(input, packed weight with its scales, block size, K, N)."""
    a, packed = call.tensor(0), call.tensor(1)
    k, n = call.integer(3), call.integer(4)
    require(k > 0 and n > 0, "extents")
    result = Tensor((quotient(a.numel, k), n), a.dtype)
    return Cost(2 * result.numel * k, a.bytes + packed.bytes + result.bytes, a.dtype, "matmul")
