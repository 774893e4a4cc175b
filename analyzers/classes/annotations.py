"""Rules on record_function names: only names that can mean one thing.

An annotation may wrap a whole generation loop, so none of these turns a matrix product or an attention kernel into
something else: each lists the classes of plain kernels that it explains.
"""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, regex

_MOVES = ("elementwise", "reduction", "embedding", "other")

ANNOTATIONS: tuple[Rule, ...] = (
    regex(
        "annotation:kv_reorder",
        "kv_cache_reorder",
        r"(kv|cache)s?[ _.:-]*reorder | reorder[ _.:-]*(the[ _])?(kv|cache|beam|incremental) | beam[ _-]*reorder",
        over=(*_MOVES, "kv_cache_update"),
    ),
    regex(
        "annotation:kv_update",
        "kv_cache_update",
        r"(kv|cache)[ _.:-]*(update|append|write) | (update|append|write)[ _.:-]*(to[ _])?(kv|cache)",
        over=_MOVES,
    ),
    regex(
        "annotation:rope",
        "rope",
        r"rotary | (?<![a-z])rope(?![a-z])",
        over=(*_MOVES, "linear"),
    ),
    regex(
        "annotation:sampling",
        "sampling",
        r"(?<![a-z])(sampling|sampler|sample_(next_)?tokens?|logits_processors?|beam_search_(step|topk))(?![a-z])",
        over=(*_MOVES, "softmax"),
    ),
    regex(
        "annotation:collective",
        "communication",
        r"^(nccl|gloo|mpi|ucc|xccl|hccl|rccl):",
        over=("other",),
    ),
)
