"""Kernels which Inductor generated with Triton, from their arguments and their name.

The tensors a kernel was launched with are its operands, each counted once. The name lists the
operators it fuses: every one that computes counts one operation an element. Templates
(``triton_tem_``) are products; their operands' layouts are not recorded, but the element counts of
two operands and the result, M·K, K·N and M·N, determine 2·M·N·K.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor, UnderivableError
from mmprof.analyzers.costs.registry import cost_model, modelled_operators
from mmprof.analyzers.costs.shapes import exact_root, quotient, require

_TEMPLATE_PRODUCTS: Final = ("mm", "bmm", "addmm", "baddbmm", "_scaled_mm", "linear")
_GATHERS: Final = frozenset({"embedding", "index", "index_select", "gather"})
_DATA_MOVEMENT: Final = _GATHERS | {
    "_to_copy", "_unsafe_view", "alias", "arange", "as_strided", "cat", "clone", "constant_pad_nd",
    "copy", "copy_", "detach", "empty", "empty_like", "expand", "fill", "flip", "full", "lift_fresh",
    "new_zeros", "ones", "permute", "repeat", "reshape", "scatter", "select", "slice",
    "slice_scatter", "split", "split_with_sizes", "squeeze", "stack", "t", "transpose", "unbind",
    "unsqueeze", "view", "zeros", "zeros_like",
}  # fmt: skip


@cost_model("triton_poi_*", "triton_red_*", "triton_per_*", "triton_for_*", "triton_spl_*")
def generated_kernel(call: OperatorCall) -> Cost:
    """Pointwise and reducing kernels: as many points as the recorded sizes, or the widest operand."""
    operands = call.tensors()
    require(operands, "operands")
    widest = max(operands, key=lambda tensor: tensor.numel)
    fused = fused_operators(call.name)
    points = _recorded_points(call)
    computing = sum(1 for operator in fused if operator not in _DATA_MOVEMENT)
    limit = _gather_limit(operands, points) if _GATHERS & set(fused) else None
    return Cost(
        flops=computing * (points or widest.numel),
        bytes=sum(_operand_bytes(operand, limit) for operand in operands),
        dtype=_arithmetic_dtype(operands),
        model="fused kernel",
    )


@cost_model("triton_tem_*")
def template_kernel(call: OperatorCall) -> Cost:
    """A product with fused operators around it; operands first, the result last."""
    fused = fused_operators(call.name)
    require(any(name in _TEMPLATE_PRODUCTS for name in fused), "a product")
    operands = call.tensors()
    require(len(operands) > 2, "two operands and a result")
    result = operands[-1]
    batch = _batch(operands) if {"bmm", "baddbmm"} & set(fused) else 1
    multiply_adds = max(
        _multiply_adds(a, b, result, batch) for a, b in combinations(operands[:-1], 2)
    )
    require(multiply_adds, "element counts of a product")
    return Cost(
        flops=2 * multiply_adds,
        bytes=sum(operand.bytes for operand in operands),
        dtype=operands[0].dtype,
        model="matmul",
    )


def fused_operators(kernel_name: str) -> list[str]:
    """ATen names in a generated kernel's name, ``triton_poi_fused_add_mul_3`` -> add, mul.

    Operator names contain the separator themselves: the longest known name wins at each place.
    """
    known = _operator_words()
    words = kernel_name.partition("fused_")[2].split("_")
    found: list[str] = []
    place = 0
    while place < len(words):
        ends = range(len(words), place, -1)
        match = next((end for end in ends if tuple(words[place:end]) in known), None)
        if match is not None:
            found.append("_".join(words[place:match]))
        place = match or place + 1
    return found


def _operator_words() -> frozenset[tuple[str, ...]]:
    modelled = (name[len("aten::") :] for name in modelled_operators() if name.startswith("aten::"))
    return frozenset(tuple(name.split("_")) for name in (*modelled, *_DATA_MOVEMENT))


def _recorded_points(call: OperatorCall) -> int:
    """Product of the kernel's sizes (xnumel, ynumel, r0_numel), its scalar arguments; 0 for none."""
    scalars = [
        call.value(index) for index, kind in enumerate(call.types) if kind in ("Scalar", "Int")
    ]
    sizes = [int(text) for text in scalars if text.isdecimal() and len(text) < 20]
    return math.prod(sizes) if sizes else 0


def _gather_limit(operands: list[Tensor], points: int) -> int:
    """Elements that a gathering kernel can read of one operand: one for each of its points."""
    second = sorted(operand.numel for operand in operands)[-2:][0]
    return points or second


def _operand_bytes(operand: Tensor, limit: int | None) -> int:
    whole = operand.bytes
    return whole if limit is None else min(whole, operand.like((limit,)).bytes)


def _arithmetic_dtype(operands: list[Tensor]) -> str:
    floating = (tensor.dtype for tensor in operands if tensor.dtype in _FLOATING)
    return next(floating, operands[0].dtype)


_FLOATING: Final = frozenset({"c10::BFloat16", "c10::Half", "double", "float"})


def _batch(operands: list[Tensor]) -> int:
    stacked = [tensor.shape[0] for tensor in operands if tensor.rank == 3]
    require(stacked and len(set(stacked)) == 1, "one batch")
    return stacked[0]


def _multiply_adds(a: Tensor, b: Tensor, result: Tensor, batch: int) -> int:
    """batch·M·N·K, or 0 where the element counts fit no product."""
    try:
        left, right, out = (quotient(tensor.numel, batch) for tensor in (a, b, result))
        k = exact_root(quotient(left * right, out))
        return batch * quotient(left, k) * quotient(right, k) * k
    except UnderivableError:
        return 0
