"""Rules on kernel names of every other library, in the order in which their words are unambiguous.

A name may hold words of several classes: the fused `silu_and_mul_quant` is an activation, `gemm_relu` is linear, and
`fbgemm_gpu` is no GEMM. The order of the table settles this: copies, communication and caches first, then whole layers
(mixture of experts, rotary, normalisation, attention, convolution), then products, then what can be part of any name.
"""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, regex, words

_MEMORY = (
    regex(
        "kernel:copy-buffer",
        "memcpy",
        r"rocclr_copy | ^(hip|cuda)?_?memcpy(?![a-z]*_kernel) | ^dma([_ ]|$)",
    ),
    regex("kernel:fill-buffer", "memset", r"rocclr_fill | ^(hip|cuda)?_?memset"),
)

_COMMUNICATION = (
    words("kernel:nccl", "communication", "nccl rccl"),
    words("kernel:ccl", "communication", "oneccl hccl xccl mscclpp gloo::"),
    words("kernel:shmem", "communication", "nvshmem rocshmem ishmem symmetric_memory symm_mem"),
    words(
        "kernel:deep-ep",
        "communication",
        "deep_ep:: internode intranode epdispatch epcombine ep_dispatch ep_combine mori::",
    ),
    words(
        "kernel:custom-collective",
        "communication",
        """cross_device_reduce multimem_ all_reduce allreduce all_gather allgather reduce_scatter reducescatter all_to_all
        alltoall all2all quickreduce lamport one_shot_ two_shot_""",
    ),
)

_CACHE = (
    words(
        "kernel:kv-reorder",
        "kv_cache_reorder",
        "reorder_cache cache_reorder kv_reorder copy_blocks gather_cache gather_and_maybe_dequant_cache cache_indirection",
    ),
    words(
        "kernel:kv-update",
        "kv_cache_update",
        """reshape_and_cache concat_and_cache and_cache_kernel updatekvcache update_kv_cache kv_cache_update set_kv_buffer
        set_mla_kv store_kv store_cache append_paged appendpaged write_kv kv_cache_write kvcacheupdate""",
    ),
)

_RECOMMENDER = (
    words(
        "kernel:fbgemm-quantize",
        "quantize",
        "fp8rowwise _fp8_quantize hfp8 fp8_qparam _float_to_bfloat16 fusednbit fused8bit",
    ),
    words(
        "kernel:table-lookup",
        "embedding",
        "split_embedding linearize_index bounds_check_indices nbit_split_embedding lxu_cache find_long_segments",
    ),
    words("kernel:hstu-attention", "attention", "hstu_attn hstu_fwd hstu_bwd hstu_varlen"),
    words(
        "kernel:jagged",
        "recommender",
        """jagged hstu fbgemm_gpu:: permute_2d permute_1d permute_pooled permute_indices_weights bucketize_sparse
        recat_copy offsets_range lengths_range dense_representation fast_gather sparse_features keyed_ group_index_select""",
    ),
)

_LAYERS = (
    regex("kernel:tensile", "linear", r"^(void\ )?(custom_)?cijk_"),
    words(
        "kernel:moe",
        "moe",
        """moe expert topkgating topk_gating grouped_topk matmul_ogs finalize_matmul combined_routing bitmatrix
        _topk_forward topk_softmax topksoftmax routing groupproblemshape grouped_gemm groupedgemm expandinputrows""",
    ),
    regex(
        "kernel:rope", "rope", r"rotary | rope_ | _rope | applyrope | ropequant | (?<![a-z])rope"
    ),
    words(
        "kernel:norm",
        "normalization",
        """layer_norm layernorm rms_norm rmsnorm batch_norm batchnorm group_norm groupnorm instance_norm instancenorm
        cudnn::bn_ rowwisemoments gammabeta gradgamma ln_fwd ln_bwd ln_parallel _norm_fwd _norm_bwd norm2d lnorm bnorm
        add_norm qk_norm l2norm_fwd l2norm_bwd normforward normbackward""",
    ),
    regex(
        "kernel:attention",
        "attention",
        r"""flash(?!infer) | fmha | attention | attn | sdpa | sage_fwd | (?<![a-z])mha_ | (?<![a-z])mla_ | paged_?kv | batch_?prefill
        | batch_?decode | single_?prefill | single_?decode | merge_?state | reduce_segments | kernel_mha | ^_?fwd_kernel
        | ^_splitk_reduce | (?<![a-z])pa_(bf16|fp16|fp8|decode|noquant|a\d)
        | _bwd_(kernel_)?(dq|dk|preprocess) | decode_att | fwd_splitkv | _fwd_(grouped_)?kernel_stage""",
    ),
    # State-space layers and linear attention mix tokens in attention's place.
    words(
        "kernel:sequence-mixing",
        "attention",
        """gated_delta delta_rule chunk_gla chunk_fwd chunk_bwd fused_recurrent chunk_scaled_dot
        selective_scan selective_state chunk_scan chunk_state state_passing""",
    ),
    words("kernel:softmax", "softmax", "softmax cross_entropy"),
    words("kernel:pool", "reduction", "pooling maxpool avgpool mlopool pool2d poolingforward"),
    regex(
        "kernel:convolution",
        "convolution",
        r"""implicit_gemm | _convolve_ | convolution | convolve | winograd | dgrad | wgrad | fprop | scudnn | conv[123]d
        | nchw_?to_?nhwc | nhwc_?to_?nchw | im2col | col2im | im2d2col | igemm_(fwd|bwd|wrw)_ | naive_conv | grouped_conv
        | conv_(fwd|bwd|wrw|hip|ck|depthwise) | gen_conv | depthwise | xdlops_?conv | sp3asmconv | miopensp3 | gcnasmconv
        | (?<![a-z])fft2d_""",
    ),
    # cuDNN and MIOpen prepare and finish convolutions with kernels whose own names are general.
    words(
        "kernel:convolution-support",
        "convolution",
        """computeoffsetskernel computeboffsets computewgrad scalepackedtensor cudnn::ops:: cudnn::cnn subtensorop
        batched_transpose_ calc_bias_diff converttensor_ nchw2cnhw miopen cask_cudnn cudnn_infer cudnn_train""",
    ),
)

_PRODUCTS = (
    words("kernel:repack", "quantize", "repack gptq_shuffle reconstruct_gptq reconstruct_exllama"),
    words(
        "kernel:gemm",
        "linear",
        "gemm gemv nvjet bmm_bfloat16 bmm_e bmm_mxe bmm_fp xmma_ matmul splitkreduce splitk_reduce split_k_reduce",
    ),
    words("kernel:cublas", "linear", "cublas hipblas rocblas tensile epilogue::impl::globalkernel"),
    words(
        "kernel:cutlass",
        "linear",
        "cutlass::kernel cutlass3x tensorop wvsplitk llmm1 marlin machete scaled_mm _mm_kernel int4_mm int8_mm",
    ),
    words("kernel:lora", "linear", "bgmv sgmv lora_shrink lora_expand"),
    words("kernel:recurrent", "linear", "persist_rnn persistrnn rnn_persist"),
)

_PARTS = (
    words(
        "kernel:activation",
        "activation",
        """gelu silu relu swish swiglu geglu act_and_mul activation_kernel doactivation sigmoid tanh softplus mish
        hardtanh elu_kernel eltwise_relu""",
    ),
    words(
        "kernel:quantize",
        "quantize",
        """quantize dequant _quant quant_ quantkernel scaled_fp8 per_token fp8_cast cast_to_fp8 nvfp4 mxfp absmax
        dynamic_scaled static_scaled block_scale kquant cast_transpose vectorquant""",
    ),
    words(
        "kernel:sampling",
        "sampling",
        """multinomial sampling sampler sample_kernel topk top_k top_p topp argmax penalt min_p_ gumbel temperature
        beam_search beamsearch rejection verify_tree tree_speculative eagle bad_words banned""",
    ),
    words("kernel:embedding", "embedding", "indexselect embedding embed_ vectorized_gather vocab"),
    regex(
        "kernel:reduction",
        "reduction",
        r"""reduce | reduction | devicescan | scan_?kernel | (?<![a-z])scan | cumsum | prefix_?sum
        | sort | radix | histogram | unique | nonzero | deviceselect | devicecompact | segment | l2norm | lpnorm | _sum_
        | devicepartition | devicerunlength | nll_loss | argmin | nms_kernel | roi_align""",
    ),
    words(
        "kernel:optimizer",
        "elementwise",
        "multi_tensor adamfunctor adam_kernel adamw_kernel sgd_kernel sgdfunctor lamb_kernel lion_kernel adagrad_kernel",
    ),
    regex(
        "kernel:elementwise",
        "elementwise",
        r"""element_?wise | pointwise | eltwise | copy_?kernel | _copy_ | fill_?kernel | catarray | concat | parallelcat | gather
        | scatter | index_?put | index_?kernel | transpose | permute | interleave | reorder | upsample | interpolat | arange
        | dropout | distribution | philox | bias_?(add|act) | add_?bias | residual | (?<![a-z])(add|mul|cast|convert)_
        | _(cast|pad|padding)_ | op_?tensor | (?<![a-z])lstm | (?<![a-z])gru_ | elemwise | op[1-5]d_?tensor | parallel_for
        | for_each | ::transform | transform_kernel | compute_cuda_kernel""",
    ),
    # torch.cuda._sleep waits on purpose.
    words("kernel:sleep", "wait", "spin_kernel"),
)

KERNEL_NAMES: tuple[Rule, ...] = (
    *_MEMORY,
    *_COMMUNICATION,
    *_CACHE,
    *_RECOMMENDER,
    *_LAYERS,
    *_PRODUCTS,
    *_PARTS,
)
