"""Rules on operator names.

Two tables. `ENCLOSING` holds operators that say what everything below them is for: a GEMM under a convolution is
convolution. `NEAREST` holds operators that say what their own kernel does; the innermost that has a rule decides, so
a cast that `aten::linear` asks for stays a cast.
"""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, regex

_PLAIN = ("elementwise", "reduction", "other")

ENCLOSING: tuple[Rule, ...] = (
    # First, and below the others in a stack, so that a cast is a cast wherever it is asked for.
    regex("operator:cast", "elementwise", r"^aten::_to_copy$", over=_PLAIN),
    regex(
        "operator:kv-reorder",
        "kv_cache_reorder",
        r"reorder_?(kv_?)?cache | (kv|cache)_reorder | ::copy_blocks$",
        over=(*_PLAIN, "embedding"),
    ),
    regex(
        "operator:kv-update",
        "kv_cache_update",
        r"reshape_and_cache | concat_and_cache | update_kv_?cache | kv_?cache_(update|write|append) | store_kv_?cache",
        over=(*_PLAIN, "embedding"),
    ),
    regex(
        "operator:sdpa",
        "attention",
        r"""scaled_dot_product | flash_?att(n|ention) | (efficient|cudnn|fused|unified|paged|sage|flex|ragged)_?att(n|ention)
        | ^aten::_(native_multi_head_attention|triton_\w*attention\w*) | fmha | ::\w*mha_ | ::\w*mla_ | sageattn
        | hstu_(attn|mha) | ^flex_attention$ | ^aten::_(fused_sdp_choice|transform_bias_rescale_qkv)""",
        over=(*_PLAIN, "linear", "softmax", "attention", "activation", "embedding"),
    ),
    regex(
        "operator:convolution",
        "convolution",
        r"^(aten|quantized|mkldnn|onednn|xpu|prims)::_?\w*conv(\d|_|olution|$) | causal_conv1d | ^(cudnn|miopen)?convolutionbackward",
        over=(*_PLAIN, "linear", "convolution"),
    ),
    regex(
        "operator:norm",
        "normalization",
        r"(layer|batch|group|instance|rms|weight)_?norm(?!al)",
        over=(*_PLAIN, "softmax", "normalization"),
    ),
    regex(
        "operator:softmax",
        "softmax",
        r"^aten::_?(log_|safe_|masked_|sparse_)*softmax",
        over=(*_PLAIN, "softmax"),
    ),
    regex(
        "operator:moe",
        "moe",
        r"::\w*(moe|fused_experts|grouped_mm|grouped_topk|topk_softmax)",
        over=(*_PLAIN, "linear", "softmax", "activation", "sampling", "embedding"),
    ),
    regex(
        "operator:rope",
        "rope",
        r"rotary | (?<![a-z])rope(?![a-z])",
        over=(*_PLAIN, "embedding"),
    ),
    regex(
        "operator:quantize",
        "quantize",
        r"""^fbgemm::\w*(quantized|fp8|hfp8) | ::\w*(dequantize|choose_qparams|fake_quant|fused_moving_avg_obs)
        | ::_?quantize_ | ::\w*_quant(_fp8|_int8|_8bit)?$""",
        over=_PLAIN,
    ),
    regex(
        "operator:embedding",
        "embedding",
        r"""^aten::_?embedding | splitlookupfunction | ^fbgemm::\w*(split_embedding|nbit_split|dense_embedding)
        | ^fbgemm::bounds_check""",
        over=(*_PLAIN, "sampling", "embedding"),
    ),
    regex(
        "operator:jagged",
        "recommender",
        r"jagged | ^fbgemm:: | ^(torchrec|hstu)\w*:: | permutepooledembs | keyedjagged"
        r"| ^fb::(?!\w*norm)",
        over=(*_PLAIN, "embedding", "sampling"),
    ),
    regex(
        "operator:activation",
        "activation",
        r"""^aten::(_?prelu\w*|leaky_relu|rrelu\w*|relu6?|gelu|silu|mish|elu|selu|celu|glu|sigmoid|log_sigmoid\w*|tanh
        |softplus|softsign|softshrink|hardshrink|hardtanh|hardswish|hardsigmoid|threshold|logit)(_backward)?_?$
        | ::\w*(silu|gelu|swi?glu)_?(and_mul|mul|fwd|bwd|oai)?\w*$""",
        over=(*_PLAIN, "activation"),
    ),
    regex(
        "operator:sampling",
        "sampling",
        r"^aten::(multinomial|exponential_?)$ | ::\w*(sampling_from|top_?[kp]_?(renorm|sampling|mask)|min_p_|apply_\w*penalt)",
        over=(*_PLAIN, "softmax", "sampling"),
    ),
    regex(
        "operator:collective",
        "communication",
        r"""^_?c10d(_functional)?\w*:: | ^record_param_comms$ | ^(nccl|gloo|mpi|ucc|xccl|hccl): | ^symm_mem::
        | ::(all_reduce|all_gather|reduce_scatter|all_to_all)\w*$ | ^mtia::\w*all_?reduce""",
        over=("other",),
    ),
)

NEAREST: tuple[Rule, ...] = (
    regex(
        "operator:matmul",
        "linear",
        r"""^aten::(_*(mm|bmm|addmm|addbmm|baddbmm|addmv|addr|mv|dot|vdot|inner|matmul|linear|bilinear|einsum|tensordot
        |chain_matmul|int_mm|scaled_mm|addmm_activation|cslt_sparse_mm|trilinear|weight_int[48]pack_mm\w*
        |dyn_quant_matmul\w*|sparse_\w*mm|mkldnn_linear\w*|linalg_matmul|linalg_multi_dot|(thnn_fused_|cudnn_|mkldnn_|miopen_)?(lstm|gru|rnn)\w*)(_backward)?_?)$
        | ::\w*(gemm|gemv|matmul|scaled_mm|marlin|linear|_mm$|bmm$) | ^(addmm|mm|bmm)backward""",
    ),
    regex(
        "operator:optimizer",
        "elementwise",
        r"^aten::_(fused_(adam|adamw|sgd|adagrad|lion)|foreach_(?!norm|max$))\w*$ | multi_tensor_(adam|sgd|scale|axpby|lamb)",
    ),
    regex(
        "operator:reduction",
        "reduction",
        r"""^aten::_?(sum|nansum|mean|nanmean|max|min|amax|amin|aminmax|prod|any|all|norm|foreach_norm|foreach_max
        |linalg_\w*norm|std|std_mean|var|var_mean|logsumexp|cumsum|cumprod|cummax|cummin|logcumsumexp|sort|argsort
        |argmax|argmin|topk|kthvalue|median|nanmedian|mode|unique\w*|nonzero\w*|count_nonzero|bincount|histc|histogram
        |searchsorted|bucketize|nll_loss\w*|cross_entropy_loss|ctc_loss\w*|kl_div|\w*pool[123]d\w*|cdist\w*|pdist\w*
        |trace|equal|is_all_true|is_any_true|segment_reduce|grad_sum_to_size|amp_foreach_non_finite\w*|scatter_reduce
        |cosine_similarity)_?$ | ^torchvision::(nms|roi_\w+)$""",
    ),
    regex(
        "operator:index",
        "elementwise",
        r"""^aten::_?(index\w*|gather\w*|scatter\w*|take\w*|put|masked_\w+|select_backward|slice_backward|slice_scatter
        |select_scatter|diagonal_\w+|repeat\w*|tile|cat|concat|concatenate|stack|hstack|vstack|split_with_sizes_copy
        |unbind_copy|roll|flip|rot90|pad|constant_pad_nd|\w*_pad[123]d\w*|tril|triu|where|one_hot|meshgrid
        |value_selecting_reduction_backward|embedding_renorm|chunk_cat|pack_padded_sequence|pixel_\w*shuffle|im2col|col2im)_?$""",
    ),
    regex(
        "operator:copy-fill",
        "elementwise",
        r"""^aten::_?(copy|clone|contiguous|fill|zero|zeros|zeros_like|ones|ones_like|full|full_like|new_\w+|arange|linspace
        |eye|rand\w*|normal|uniform|random|bernoulli|native_dropout\w*|dropout|feature_dropout|masked_scale|fused_dropout
        |upsample\w*|interpolate|grid_sampler\w*|affine_grid\w*|flatten_dense_tensors|to|type_as|foreach_copy
        |conj_physical|geometric|cauchy|log_normal)_?$""",
    ),
    regex(
        "operator:pointwise",
        "elementwise",
        r"""^aten::_?_?(add|sub|rsub|mul|div|neg|abs|sgn|sign|exp|exp2|expm1|log|log2|log10|log1p|sqrt|rsqrt|square|pow
        |float_power|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|asinh|acosh|atanh|erf|erfc|erfinv|lgamma|digamma
        |reciprocal|floor|ceil|round|trunc|frac|fmod|remainder|floor_divide|true_divide|clamp|clamp_min|clamp_max|clip
        |maximum|minimum|fmax|fmin|lerp|addcmul|addcdiv|eq|ne|gt|ge|lt|le|isnan|isinf|isfinite|isin|logical_\w+|bitwise_\w+
        |and|or|xor|ilshift__|irshift__|lshift__|rshift__|nan_to_num|heaviside|hypot|logaddexp|logaddexp2|xlogy|sinc|i0
        |polar|complex|angle|real|imag|threshold_backward|tanh_backward|sigmoid_backward|binary_cross_entropy\w*|mse_loss\w*
        |l1_loss\w*|smooth_l1_loss\w*|huber_loss\w*|soft_margin_loss\w*|margin_ranking_loss|unfold\w*|fold|cumulative_trapezoid
        |quantile|cross|linalg_cross|amp_update_scale|add_relu|dim_arange|renorm)(_?_)?$
        | ^torch\.distributed\.ddp\.reducer:: | ^torch::distributed::reducer::""",
    ),
    # Views and allocations touch no data. They count as elementwise because what removes the one removes the other.
    regex(
        "operator:view-or-allocation",
        "elementwise",
        r"""^aten::_?(empty\w*|view\w*|reshape\w*|as_strided\w*|resize\w*|set|detach\w*|alias\w*|t|transpose|permute|movedim
        |swapaxes|expand\w*|broadcast_\w+|unsqueeze|squeeze|select|slice|narrow|split\w*|tensor_split|chunk|unbind|flatten
        |unflatten|numpy_t|mt|adjoint|lift_fresh|item|local_scalar_dense|is_nonzero|scalar_tensor|result_type|numel
        |stride|size|sym_\w+|diagonal|real|conj|resolve_\w+|unsafe_\w+|can_cast|has_\w+|is_\w+|pin_memory|record_stream
        |prod_int|promote_types|assert_\w+|nested_\w+|efficientzerotensor|dim|values|indices|crow_indices|col_indices
        |output_nr|version|to_cpu|data|requires_grad|retain_grad)_?$ | ^detach_?$""",
    ),
)
