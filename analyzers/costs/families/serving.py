"""Fused operators of vLLM, SGLang and aiter that are neither products, norms nor quantization.

Sources: vLLM ``csrc/torch_bindings.cpp``, SGLang ``sgl-kernel`` ``common_extension.cc``, aiter ``ops``.
"""

from __future__ import annotations

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import require

_ROTATE_FLOPS = 3  # two products and a sum for each rotated element


@cost_model("_C::rotary_embedding")
def rotary_embedding(call: OperatorCall) -> Cost:
    """(positions, query, key, head size, cos and sin (positions, rotated width), ...), in place."""
    positions, query, table = call.tensor(0), call.tensor(1), call.tensor(4)
    key, head_size = call.optional_tensor(2), call.integer(3)
    require(head_size > 0 and table.rank == 2, "heads and a table")
    rows = table.like((positions.numel, table.shape[1]))
    heads = [query, *([key] if key else [])]
    rotated = sum(tensor.numel for tensor in heads) * min(table.shape[1], head_size) // head_size
    moved = _rewritten(heads, rotated) + positions.bytes + min(rows.bytes, table.bytes)
    return Cost(_ROTATE_FLOPS * rotated, moved, query.dtype, "rotary embedding")


@cost_model("_C::silu_and_mul", "_C::gelu_and_mul", "_C::gelu_tanh_and_mul", "_C::mul_and_silu")
@cost_model("_C::silu_and_mul_quant", "aiter::silu_and_mul", "aiter::gelu_and_mul")
@cost_model("aiter::gelu_tanh_and_mul", "sgl_kernel::silu_and_mul", "sgl_kernel::gelu_and_mul")
@cost_model("sgl_kernel::gelu_tanh_and_mul", "_C::swigluoai_and_mul")
def gated_activation(call: OperatorCall) -> Cost:
    """(result (..., d), input (..., 2·d), ...): an activation and a product for each result."""
    result = call.tensor(0)
    moved = sum(operand.bytes for operand in call.tensors())
    return Cost(2 * result.numel, moved, call.tensor(1).dtype, "gated activation")


@cost_model("_C_cache_ops::reshape_and_cache_flash", "_C_cache_ops::reshape_and_cache")
@cost_model("aiter::reshape_and_cache", "aiter::reshape_and_cache_flash")
def write_kv_cache(call: OperatorCall) -> Cost:
    """(key, value, key cache, value cache, slots, ...): only the new tokens' slots are written."""
    key, value, slots = call.tensor(0), call.tensor(1), call.tensor(4)
    stored = [key.like(dtype=call.tensor(2).dtype), value.like(dtype=call.tensor(3).dtype)]
    moved = sum(tensor.bytes for tensor in (key, value, slots, *stored))
    return Cost(0, moved, "", "cache write")


@cost_model("_C_cache_ops::concat_and_cache_mla", "aiter::concat_and_cache_mla")
def write_latent_cache(call: OperatorCall) -> Cost:
    """(latent, rotary key, cache, slots, ...)."""
    latent, rotary, cache, slots = (call.tensor(place) for place in range(4))
    stored = [latent.like(dtype=cache.dtype), rotary.like(dtype=cache.dtype)]
    moved = sum(tensor.bytes for tensor in (latent, rotary, slots, *stored))
    return Cost(0, moved, "", "cache write")


@cost_model("_moe_C::topk_softmax", "aiter::topk_softmax", "sgl_kernel::topk_softmax")
def gating(call: OperatorCall) -> Cost:
    """Softmax over the experts and the choice among them; the logits are the widest operand."""
    operands = call.tensors()
    require(operands, "the gate's logits")
    logits = max(operands, key=lambda tensor: tensor.numel)
    moved = sum(operand.bytes for operand in operands)
    return Cost(6 * logits.numel, moved, logits.dtype, "expert gating")


@cost_model("_moe_C::moe_sum", "aiter::moe_sum")
def sum_experts(call: OperatorCall) -> Cost:
    """(input (tokens, experts, width), result (tokens, width))."""
    tensor = call.tensor(0)
    return Cost(tensor.numel, tensor.bytes + call.tensor(1).bytes, tensor.dtype, "reduction")


def _rewritten(tensors: list[Tensor], rotated: int) -> int:
    """Bytes of reading and writing only the rotated part of the heads."""
    elements = sum(tensor.numel for tensor in tensors)
    everything = sum(2 * tensor.bytes for tensor in tensors)
    return everything * rotated // elements if elements else 0
