"""Several requests of greedy decoding on one model: one after the other, in padded batches, or in slots of one batch."""

from __future__ import annotations

from typing import Final

CANNOT_STAND_BESIDE: Final = (
    # these change `generate`, which is not called
    "assisted_decoding",
    "cache_offload",
    "cuda_graphs",
    "deferred_stop_check",
    "kv_cache_int8",
    "layerskip",
    "prompt_lookup",
    "static_kv_cache",
    "torch_compile",
    # its masks are of another kind
    "flex_attention",
    # one schedule at a time
    "continuous_batching",
    "sequence_bucketing",
)
"""Ids of the levers that no schedule goes together with; one of them is the schedule itself."""
