"""Scaled dot product attention: two products a query-key pair forward, five backward.

Forward 2·B·H·pairs·(d + dv), backward 2·B·H·pairs·(3·d + 2·dv) because the scores are computed
again (torch.utils.flop_counter ``sdpa_flop_count``, ``sdpa_backward_flop_count``). Bytes are the
operands and results only: no fused kernel writes the scores.

Pairs are those the mask leaves. A causal square counts as half of it, N·N/2, as TraceLens and the
FlashAttention papers do (the diagonal would add N/2); any other causal or windowed rectangle is
counted exactly. Sequence lengths of packed batches are not recorded: the longest key sequence
stands for all, which is an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor, UnderivableError
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import quotient, require

# custom_mask_type of the memory-efficient kernels.
_MASK_NONE, _MASK_TOP_LEFT, _MASK_BOTTOM_RIGHT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Signature:
    """Where an attention operator has its arguments.

    Attributes:
        q: index of the query; key and value follow it.
        causal: index of the flag, or of an integer mask type where ``mask_type``.
        heads_first: (B, H, N, d) instead of (B, N, H, d).
        bottom_right: a causal mask is aligned with the last key, not the first.
        window: index of the left window, the right one follows; None where there is none.
        cu_seqlens: index of the cumulative lengths that mark a packed batch, (tokens, H, d).
        max_kv: index of the longest key sequence of a packed batch.
        unmodelled: arguments which, when given, hide what is attended (a paged cache).
        extra_operands: further tensors that are read: bias, and in backward the result.
    """

    causal: int
    q: int = 0
    backward: bool = False
    mask_type: bool = False
    heads_first: bool = False
    bottom_right: bool = False
    window: int | None = None
    cu_seqlens: int | None = None
    max_kv: int | None = None
    unmodelled: tuple[int, ...] = ()
    extra_operands: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Extents of one attention: batch, query heads, lengths."""

    batch: int
    heads: int
    queries: int
    keys: int


_FLASH_ATTENTION_3: Final = Signature(
    24,
    bottom_right=True,
    window=25,
    cu_seqlens=7,
    max_kv=13,
    # Appended keys, absorbed values, lengths in use and paged caches.
    unmodelled=(3, 4, 5, 9, 10, 11, 14),
)
_FORWARD: Final[dict[str, Signature]] = {
    "aten::_scaled_dot_product_flash_attention": Signature(4, heads_first=True),
    "aten::_scaled_dot_product_flash_attention_for_cpu": Signature(
        4, heads_first=True, extra_operands=(5,)
    ),
    "aten::_scaled_dot_product_efficient_attention": Signature(
        6, heads_first=True, extra_operands=(3,)
    ),
    "aten::_scaled_dot_product_cudnn_attention": Signature(
        6, heads_first=True, extra_operands=(3,)
    ),
    "aten::_scaled_dot_product_fused_attention_overrideable": Signature(
        5, heads_first=True, extra_operands=(3,)
    ),
    "aten::_scaled_dot_product_attention_math": Signature(5, heads_first=True, extra_operands=(3,)),
    "aten::scaled_dot_product_attention": Signature(5, heads_first=True, extra_operands=(3,)),
    "aten::_flash_attention_forward": Signature(
        8, bottom_right=True, window=11, cu_seqlens=3, max_kv=6, unmodelled=(13, 15)
    ),
    "aten::_efficient_attention_forward": Signature(
        9, mask_type=True, cu_seqlens=4, max_kv=7, unmodelled=(12, 13), extra_operands=(3,)
    ),
    "aten::_cudnn_attention_forward": Signature(
        10, heads_first=True, unmodelled=(4,), extra_operands=(3,)
    ),
    "flash_attn::_flash_attn_forward": Signature(5, bottom_right=True, window=6),
    "flash_attn::_flash_attn_varlen_forward": Signature(
        9, bottom_right=True, window=10, cu_seqlens=3, max_kv=6, unmodelled=(15, 17)
    ),
    "flash_attn_3::fwd": _FLASH_ATTENTION_3,
    "flash_attn_3::_flash_attn_forward": _FLASH_ATTENTION_3,
    "sgl_kernel::fwd": _FLASH_ATTENTION_3,
    "aiter::mha_fwd": Signature(5, bottom_right=True, window=6),
    "aiter::fmha_v3_fwd": Signature(5, bottom_right=True, window=6),
    "aiter::fmha_v3_varlen_fwd": Signature(
        12, bottom_right=True, window=13, cu_seqlens=3, max_kv=6, unmodelled=(19,)
    ),
}
_BACKWARD: Final[dict[str, Signature]] = {
    "aten::_scaled_dot_product_flash_attention_backward": Signature(11, heads_first=True),
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": Signature(7, heads_first=True),
    "aten::_scaled_dot_product_efficient_attention_backward": Signature(11, heads_first=True),
    "aten::_scaled_dot_product_cudnn_attention_backward": Signature(14, heads_first=True),
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": Signature(
        13, heads_first=True
    ),
    "aten::_flash_attention_backward": Signature(
        11, bottom_right=True, window=15, cu_seqlens=6, max_kv=9
    ),
    "aten::_efficient_attention_backward": Signature(
        14, mask_type=True, cu_seqlens=6, max_kv=9, unmodelled=(18,)
    ),
    "aten::_cudnn_attention_backward": Signature(14, heads_first=True, unmodelled=(9,)),
    "flash_attn::_flash_attn_backward": Signature(11, bottom_right=True, window=12),
    "flash_attn::_flash_attn_varlen_backward": Signature(
        15, bottom_right=True, window=16, cu_seqlens=9, max_kv=12
    ),
}


def forward(signature: Signature, call: OperatorCall) -> Cost:
    """Cost of softmax(q·kᵀ)·v; operands are q, k, v and the bias, the result is (..., H, N, dv)."""
    q, k, v = (call.tensor(signature.q + place) for place in range(3))
    problem = _problem(signature, call, q, k)
    d, dv = q.extent(-1), v.extent(-1)
    extra = (call.optional_tensor(index) for index in signature.extra_operands)
    result = q.like((*q.shape[:-1], dv))
    operands = [q, k, v, result, *(tensor for tensor in extra if tensor)]
    return Cost(
        flops=problem.heads * _pair_flops(signature, call, problem, 2 * (d + dv)),
        bytes=sum(operand.bytes for operand in operands),
        dtype=q.dtype,
        model="attention",
    )


def backward(signature: Signature, call: OperatorCall) -> Cost:
    """Gradients of q, k and v; reads the output's gradient, q, k, v and the output."""
    gradient, q, k, v = (call.tensor(place) for place in range(4))
    problem = _problem(signature, call, q, k)
    d, dv = q.extent(-1), v.extent(-1)
    inputs_and_gradients = 2 * (q.bytes + k.bytes + v.bytes)
    return Cost(
        flops=problem.heads * _pair_flops(signature, call, problem, 2 * (3 * d + 2 * dv)),
        bytes=2 * gradient.bytes + inputs_and_gradients,
        dtype=q.dtype,
        model="attention backward",
    )


for _name, _signature in _FORWARD.items():
    cost_model(_name)(partial(forward, _signature))
for _name, _signature in _BACKWARD.items():
    cost_model(_name)(partial(backward, _signature))


@cost_model("aiter::mha_varlen_fwd")
def aiter_varlen_forward(call: OperatorCall) -> Cost:
    """Packed batch; releases differ in what stands before ``zero_tensors``, the first flag.

    ``is_causal`` and the windows follow it in all of them (aiter ``ops/mha.py``).
    """
    flags = [index for index, value in enumerate(call.concrete) if value in ("True", "False")]
    require(len(flags) > 1 and flags[1] == flags[0] + 1, "zero_tensors and is_causal")
    signature = Signature(flags[1], bottom_right=True, window=flags[1] + 1, cu_seqlens=3, max_kv=6)
    tables = [call.types[index] for index in range(flags[1] + 3, len(call.types))]
    require("int" not in tables, "no paged cache")
    return forward(signature, call)


def unmasked_pairs(queries: int, keys: int, left: int | None, right: int | None) -> int:
    """Pairs (i, j) with i - left <= j <= i + right, of ``queries`` by ``keys``; None is no limit."""
    upper = queries * keys if right is None else _pairs_up_to(queries, keys, right)
    lower = 0 if left is None else _pairs_up_to(queries, keys, -left - 1)
    return max(0, upper - lower)


def _pairs_up_to(queries: int, keys: int, diagonal: int) -> int:
    """Pairs with j <= i + diagonal: rows grow by one from the first that has a pair to the full ones."""
    first = min(max(0, -diagonal), queries)
    full = min(max(first, keys - diagonal), queries)
    growing = full - first
    start = first + diagonal + 1
    return growing * start + growing * (growing - 1) // 2 + (queries - full) * keys


def _pair_flops(signature: Signature, call: OperatorCall, problem: Problem, flops: int) -> int:
    queries, keys = problem.queries, problem.keys
    offset = keys - queries if signature.bottom_right else 0
    causal = _is_causal(signature, call)
    left, right = _window(signature, call)
    if causal is not None:
        offset, right = (keys - queries if causal else offset), 0
    if left is None and right == 0 and queries == keys:
        return problem.batch * queries * keys * flops // 2
    pairs = unmasked_pairs(
        queries,
        keys,
        None if left is None else left - offset,
        None if right is None else right + offset,
    )
    return problem.batch * pairs * flops


def _is_causal(signature: Signature, call: OperatorCall) -> bool | None:
    """None without a causal mask, else whether it is aligned with the last key."""
    if not signature.mask_type:
        return signature.bottom_right if call.flag(signature.causal) else None
    kind = call.integer(signature.causal)
    require(kind in (_MASK_NONE, _MASK_TOP_LEFT, _MASK_BOTTOM_RIGHT), "a known mask type")
    return None if kind == _MASK_NONE else kind == _MASK_BOTTOM_RIGHT


def _window(signature: Signature, call: OperatorCall) -> tuple[int | None, int | None]:
    if signature.window is None:
        return None, None
    return _limit(call, signature.window), _limit(call, signature.window + 1)


def _limit(call: OperatorCall, index: int) -> int | None:
    if not call.value(index):
        return None
    limit = call.integer(index)
    return None if limit < 0 else limit


def _problem(signature: Signature, call: OperatorCall, q: Tensor, k: Tensor) -> Problem:
    if any(_given(call, index) for index in signature.unmodelled):
        msg = "arguments that hide the attended length"
        raise UnderivableError(msg)
    if signature.cu_seqlens is not None:
        lengths = call.optional_tensor(signature.cu_seqlens)
        if lengths and lengths.numel:
            return _packed_problem(signature, call, q, lengths)
    require(q.rank == k.rank == 4, "four dimensions")
    length, heads = (2, 1) if signature.heads_first else (1, 2)
    require(
        q.shape[0] == k.shape[0] and q.extent(-1) == k.extent(-1), "queries and keys that match"
    )
    quotient(q.shape[heads], max(k.shape[heads], 1))
    return Problem(q.shape[0], q.shape[heads], q.shape[length], k.shape[length])


def _packed_problem(
    signature: Signature, call: OperatorCall, q: Tensor, cu_seqlens: Tensor
) -> Problem:
    """A packed batch as sequences of the mean query length, each meeting the longest key sequence.

    Exact for equal lengths, else an upper bound: the pairs of a sequence are concave in its queries.
    """
    require(signature.max_kv is not None and q.rank >= 3, "a packed batch")
    longest = call.integer(signature.max_kv or 0)
    sequences = max(1, cu_seqlens.numel - 1)
    tokens = quotient(q.numel, max(1, q.extent(-1) * q.extent(-2)))
    require(longest >= 0, "a length")
    return Problem(sequences, q.extent(-2), -(-tokens // sequences), longest)


def _given(call: OperatorCall, index: int) -> bool:
    return bool(call.optional_tensor(index) or call.value(index) not in ("", "None"))
