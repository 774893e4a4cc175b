"""Rules on the names that TorchInductor gives to what it generates.

Inductor joins the operators fused into a kernel, sorted, behind the kernel's kind: `triton_red_fused_add_mean_pow_rsqrt_3`
(`poi` pointwise, `red` and `per` reductions, `tem` a template, `cpp_fused` on CPUs). The words `mm` and `bmm` in
a reduction mean a matrix-vector product that was decomposed into one; `addmm` does not: the bias add of a product
that ran elsewhere carries that name.
"""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, regex

_LOOP = r"^(triton_(poi|red|per|for|split_scan)|(graph_\d+_)?(kernel_)?cpp)_fused(?=_)"
_REDUCTION = r"^(triton_(red|per|split_scan)|(graph_\d+_)?(kernel_)?cpp)_fused(?=_)"


def _all_of(kinds: str, *tokens: str) -> str:
    """A pattern for fused names of `kinds` that contain every token, each between underscores."""
    return kinds + "".join(rf"(?=.*_(?:{token})_)" for token in tokens)


METADATA: tuple[Rule, ...] = (
    regex(
        "inductor:attention",
        "attention",
        r"^triton_(tem_fused_\w*(flex|attention|sdpa)|flex_(attention|decoding))",
    ),
    regex(
        "inductor:convolution",
        "convolution",
        r"^triton_(tem_fused_\w*conv|convolution|conv2d|depthwise_conv)",
    ),
    regex(
        "inductor:moe",
        "moe",
        r"^triton_tem_fused_\w*grouped_mm",
    ),
    regex(
        "inductor:mm",
        "linear",
        r"^triton_(tem_fused|(mm|bmm|addmm|scaled_mm|mm_plus_mm)(_|$)) | ^(graph_\d+_)?(kernel_)?cpp_(gemm|bmm)",
    ),
    regex("inductor:matvec", "linear", _all_of(_REDUCTION, "mm|bmm|mv|addmv")),
    regex(
        "inductor:norm",
        "normalization",
        rf"{_all_of(_LOOP, 'native_(?:layer|group|batch)_norm(?:_backward)?|rms_norm|var_mean')}"
        rf"| {_all_of(_LOOP, 'mean|sum|var', 'rsqrt')} | {_all_of(_REDUCTION, 'mean', 'pow')}",
    ),
    regex(
        "inductor:softmax",
        "softmax",
        rf"{_REDUCTION}(?=\w*softmax) | {_all_of(_REDUCTION, 'amax', 'exp', 'sum')}",
    ),
    regex("inductor:absmax", "quantize", _all_of(_REDUCTION, "abs", "amax|max")),
    regex(
        "inductor:addmv",
        "linear",
        rf"^triton_(red|per)_fused(?=_)(?!.*_(?:mean|sum|amax)_){_all_of('', 'addmm')}",
    ),
    regex(
        "inductor:sampling",
        "sampling",
        _all_of(_REDUCTION, "argmax|exponential|multinomial"),
    ),
    regex(
        "inductor:kv-update",
        "kv_cache_update",
        _all_of(_LOOP, "index_put|index_copy"),
    ),
    regex(
        "inductor:rope",
        "rope",
        rf"{_all_of(_LOOP, 'cos', 'sin', 'mul', 'neg|cat|stack')}(?!.*_exp_)"
        rf"| {_all_of(_LOOP, 'add', 'mul', 'neg', 'stack|cat')}",
    ),
    regex("inductor:reduction", "reduction", r"^triton_(red|per|split_scan)_"),
    regex(
        "inductor:activation",
        "activation",
        _all_of(
            _LOOP,
            "gelu|silu|relu|sigmoid|tanh|elu|hardswish|leaky_relu|threshold_backward|gelu_backward|erf",
        ),
    ),
    regex("inductor:quantize", "quantize", _all_of(_LOOP, "round", "clamp|_?clamp_(?:min|max)")),
    regex("inductor:embedding", "embedding", _all_of(_LOOP, "embedding")),
    regex("inductor:pointwise", "elementwise", rf"^triton_(poi|for)_ | {_LOOP}"),
    # Before mid 2023 all Inductor kernels were called `triton__` and their argument specialisation.
    regex("inductor:unnamed", "elementwise", r"^triton__\d | ^triton_$"),
)
