"""Rules on the innermost nn.Module: only modules that do one thing.

A module named *Attention* says nothing: its projections are linear. What happens between them is found by operators and
shapes.
"""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, regex

_PLAIN = ("elementwise", "reduction", "other")

MODULES: tuple[Rule, ...] = (
    regex(
        "module:rotary",
        "rope",
        r"rotary | rope(emb\w*)?(_\d+)?$",
        over=(*_PLAIN, "linear", "embedding"),
    ),
    regex(
        "module:norm",
        "normalization",
        r"(layer|rms|batch|group|instance|scale|l2)_?norm\w*$ | ^norm(alize)?(_\d+)?$",
        over=(*_PLAIN, "softmax"),
    ),
    regex(
        "module:activation",
        "activation",
        r"gelu | silu | relu\d?(_\d+)?$ | swi?glu | activation(_\d+)?$ | (swish|sigmoid|tanh|mish|elu)(_\d+)?$",
        over=(*_PLAIN, "activation"),
    ),
    regex(
        "module:kv_cache",
        "kv_cache_update",
        r"^\w*(kv|static|dynamic)_?cache(_\d+)?$",
        over=(*_PLAIN, "embedding"),
    ),
    regex(
        "module:experts",
        "moe",
        r"^\w*experts(_\d+)?$ | fused_?moe",
        over=(*_PLAIN, "linear", "softmax", "activation", "sampling", "embedding"),
    ),
    regex(
        "module:router",
        "moe",
        r"(sparse_?moe(block)?|moe(block|layer|gate)?|topk_?router|moe_?gate)(_\d+)?$",
        over=(*_PLAIN, "softmax", "sampling", "embedding"),
    ),
    regex(
        "module:embedding",
        "embedding",
        r"^(vocabparallel|scaledword|parallel)?embedding(bag)?(_\d+)?$",
        over=(*_PLAIN, "embedding"),
    ),
    regex(
        "module:sampler",
        "sampling",
        r"^\w*sampler(_\d+)?$",
        over=(*_PLAIN, "softmax", "embedding"),
    ),
    regex(
        "module:quantizer",
        "quantize",
        r"(fake_?quantize|quantizer|quantstub|observer)(_\d+)?$",
        over=_PLAIN,
    ),
)

ATTENTION_MODULE = regex("module:attention", "attention", r"attention | attn")
"""Not a rule of the table: the condition under which shapes are read as an attention layer's."""
