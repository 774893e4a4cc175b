"""Kernels that have nothing but their name: graph replays, GPU-only traces, carry-in."""

from __future__ import annotations

import pytest

from mmprof.analyzers.classes import CLASSES, Activity, Verdict, classify

NATIVE = "void at::native::"
ELEMENTWISE = NATIVE + "vectorized_elementwise_kernel<4, at::native::"

KERNELS = [
    # Communication: every spelling that name-only tools have taken for computation.
    (
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "communication",
        "kernel:nccl",
    ),
    (
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)",
        "communication",
        "kernel:nccl",
    ),
    ("rcclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", "communication", "kernel:nccl"),
    ("oneccl_allreduce_small", "communication", "kernel:ccl"),
    (
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*)",
        "communication",
        "kernel:custom-collective",
    ),
    (
        "void aiter::cross_device_reduce_2stage_naive<__hip_bfloat16, 8>()",
        "communication",
        "kernel:custom-collective",
    ),
    (
        "void multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*)",
        "communication",
        "kernel:custom-collective",
    ),
    ("void two_shot_all_reduce_kernel<float, 16>()", "communication", "kernel:custom-collective"),
    (
        "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<>",
        "communication",
        "kernel:custom-collective",
    ),
    (
        "void deep_ep::internode_ll::dispatch<true, 3, 10, 7168>(void*)",
        "communication",
        "kernel:deep-ep",
    ),
    (
        "void deep_ep::intranode::combine<__nv_bfloat16, 8, 768>()",
        "communication",
        "kernel:deep-ep",
    ),
    ("nvshmemi_transfer_rma_p2p", "communication", "kernel:shmem"),
    # Copies and fills that ROCm runs as kernels.
    ("__amd_rocclr_copyBuffer", "memcpy", "kernel:copy-buffer"),
    ("__amd_rocclr_fillBufferAligned", "memset", "kernel:fill-buffer"),
    # Matrix products.
    ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_cublas", "linear", "kernel:gemm"),
    (
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_64x64_64x6_tn_align8>()",
        "linear",
        "kernel:gemm",
    ),
    ("nvjet_tst_192x16_64x8_2x2_2cta_h_bz_TNT", "linear", "kernel:gemm"),
    ("void cublasLt::splitKreduce_kernel<32, 16, int, __nv_bfloat16>()", "linear", "kernel:gemm"),
    ("void gemv2T_kernel_val<int, int, float>()", "linear", "kernel:gemm"),
    (
        "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, __nv_bfloat16>()",
        "linear",
        "kernel:gemm",
    ),
    ("volta_sgemm_128x64_nn", "linear", "kernel:gemm"),
    (
        "void epilogue::impl::globalKernel<float, float>(int, cublasLtEpilogue_t)",
        "linear",
        "kernel:cublas",
    ),
    (
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT32x32x256_MI16x16x1",
        "linear",
        "kernel:tensile",
    ),
    ("void marlin::Marlin<__nv_bfloat16, 256, 4, 16, 4>()", "linear", "kernel:cutlass"),
    ("void wvSplitK_hf_sml_<__hip_bfloat16, 64, 4>()", "linear", "kernel:cutlass"),
    ("kgemm_4bit_inference_naive", "linear", "kernel:gemm"),
    ("gemm_kernel", "linear", "kernel:gemm"),
    # Attention.
    (
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128>>()",
        "attention",
        "kernel:attention",
    ),
    ("void flash_fwd_splitkv_combine_kernel<>()", "attention", "kernel:attention"),
    (
        "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<>)",
        "attention",
        "kernel:attention",
    ),
    (
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7",
        "attention",
        "kernel:attention",
    ),
    ("attn_fwd", "attention", "kernel:attention"),
    ("void vllm::paged_attention_v2_kernel<__nv_bfloat16, 128>()", "attention", "kernel:attention"),
    ("kernel_unified_attention_3d", "attention", "kernel:attention"),
    ("void flashinfer::BatchDecodeWithPagedKVCacheKernel<>()", "attention", "kernel:attention"),
    ("sage_fwd", "attention", "kernel:attention"),
    ("_hstu_attn_fwd", "attention", "kernel:hstu-attention"),
    ("selective_scan_fwd_kernel", "attention", "kernel:sequence-mixing"),
    # FlashInfer is a library of all kinds of kernels.
    (
        "void flashinfer::activation::act_and_mul_kernel<__nv_bfloat16>()",
        "activation",
        "kernel:activation",
    ),
    ("void flashinfer::norm::RMSNormKernel<8, __nv_bfloat16>()", "normalization", "kernel:norm"),
    (
        "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024>()",
        "sampling",
        "kernel:sampling",
    ),
    # Caches.
    (
        "void vllm::reshape_and_cache_flash_kernel<__hip_bfloat16>()",
        "kv_cache_update",
        "kernel:kv-update",
    ),
    ("void vllm::concat_and_cache_mla_kernel<>()", "kv_cache_update", "kernel:kv-update"),
    (
        "void tensorrt_llm::kernels::applyBiasRopeUpdateKVCacheV2<>()",
        "kv_cache_update",
        "kernel:kv-update",
    ),
    ("void vllm::copy_blocks_kernel<float>()", "kv_cache_reorder", "kernel:kv-reorder"),
    # Convolution.
    ("volta_scudnn_128x64_relu_medium_nn_v1", "convolution", "kernel:convolution"),
    (
        "void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>()",
        "convolution",
        "kernel:convolution",
    ),
    (
        "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw",
        "convolution",
        "kernel:convolution",
    ),
    ("void cudnn::ops::nchwToNhwcKernel<float, float>()", "convolution", "kernel:convolution"),
    ("void cudnn::detail::dgrad_engine<float, 512, 6, 5>()", "convolution", "kernel:convolution"),
    ("igemm_wrw_gtcx2_nhwc_bf16_bx0_ex1_bt256x128x16", "convolution", "kernel:convolution"),
    ("naive_conv_ab_nonpacked_fwd_nchw_half_double_half", "convolution", "kernel:convolution"),
    ("batched_transpose_16x64_pack_1x4_ediv_1x2_half", "convolution", "kernel:convolution-support"),
    ("SubTensorOpWithScalar1d", "convolution", "kernel:convolution-support"),
    # Whole layers.
    ("MIOpenBatchNormFwdTrainSpatial", "normalization", "kernel:norm"),
    ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float>()", "normalization", "kernel:norm"),
    (
        "_ZN7ck_tile6kentryILi1ENS_12Rmsnorm2dFwdINS_27Rmsnorm2dFwdPipelineOnePassE",
        "normalization",
        "kernel:norm",
    ),
    ("void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>()", "normalization", "kernel:norm"),
    ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*)", "rope", "kernel:rope"),
    ("_matmul_ogs_NNT_bf16xbf16xmxfp4_16x128x256x1_swiglu", "moe", "kernel:moe"),
    ("fused_moe_kernel", "moe", "kernel:moe"),
    ("void vllm::moe::topkGatingSoftmax<8, 128, 4, 16>()", "moe", "kernel:moe"),
    ("void moe_align_block_size_kernel<int>()", "moe", "kernel:moe"),
    ("_ZN5aiter36fmoe_bf16_blockscaleFp8_g1u1_vs_siluE", "moe", "kernel:moe"),
    (
        "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel>()",
        "activation",
        "kernel:activation",
    ),
    # Quantization; the fused forms belong to the layer they are fused into.
    (
        "void vllm::dynamic_per_token_scaled_fp8_quant_kernel<c10::BFloat16>()",
        "quantize",
        "kernel:quantize",
    ),
    ("void kQuantizeBlockwise<__half, 4096, 4, 0, 0>()", "quantize", "kernel:quantize"),
    ("void vllm::awq::dequantize_weights()", "quantize", "kernel:quantize"),
    ("void marlin::gptq_marlin_repack_kernel<8, false>()", "quantize", "kernel:repack"),
    ("sage_quant_kernel", "quantize", "kernel:quantize"),
    (
        "fbgemm_gpu::_compute_FP8_quantize_cuda_kernel<float>()",
        "quantize",
        "kernel:fbgemm-quantize",
    ),
    # Recommenders: fbgemm is no GEMM.
    ("void fbgemm_gpu::permute_2D_data_kernel<false, int, int>()", "recommender", "kernel:jagged"),
    (
        "void fbgemm_gpu::jagged_dense_elementwise_dense_output_kernel_<1>()",
        "recommender",
        "kernel:jagged",
    ),
    (
        "split_embedding_codegen_forward_unweighted_kernel<c10::Half, float>()",
        "embedding",
        "kernel:table-lookup",
    ),
    # The rest.
    ("void top_k_top_p_sampling_from_prob_kernel<512>()", "sampling", "kernel:sampling"),
    ("void cub::DeviceRadixSortOnesweepKernel<long, int, int>()", "reduction", "kernel:reduction"),
    (
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float>>()",
        "elementwise",
        "kernel:optimizer",
    ),
    ("void at::cuda::(anonymous namespace)::spin_kernel(long)", "wait", "kernel:sleep"),
    # PyTorch's own library.
    (
        ELEMENTWISE + "GeluCUDAKernelImpl(at::TensorIteratorBase&)>()",
        "activation",
        "native:activation",
    ),
    (
        ELEMENTWISE + "(anonymous namespace)::silu_kernel(at::TensorIteratorBase&)>()",
        "activation",
        "native:activation",
    ),
    (ELEMENTWISE + "threshold_kernel_impl<float>()>()", "activation", "native:activation"),
    (ELEMENTWISE + "CUDAFunctor_add<c10::BFloat16>>()", "elementwise", "native:elementwise"),
    (ELEMENTWISE + "FillFunctor<float>>()", "elementwise", "native:elementwise"),
    (
        NATIVE + "xpu::VectorizedElementwiseKernel<4, at::native::xpu::AddFunctor<float>>",
        "elementwise",
        "native:elementwise",
    ),
    (
        NATIVE + "reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float>>>()",
        "reduction",
        "native:reduction",
    ),
    (
        NATIVE
        + "reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::NormTwoOps<float>>>()",
        "reduction",
        "native:reduction",
    ),
    (
        NATIVE + "(anonymous namespace)::cunn_SoftMaxForward<8, c10::BFloat16>()",
        "softmax",
        "native:softmax",
    ),
    (
        NATIVE + "(anonymous namespace)::vectorized_layer_norm_kernel<float, float>()",
        "normalization",
        "native:norm",
    ),
    (
        NATIVE + "(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long>()",
        "embedding",
        "native:embedding",
    ),
    (
        NATIVE + "(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 2, 64, 64>()",
        "elementwise",
        "native:elementwise",
    ),
    (NATIVE + "sbtopk::gatherTopK<float, unsigned int, 2, false>()", "sampling", "native:sampling"),
    (
        NATIVE + "(anonymous namespace)::fused_dropout_kernel_vec<float>()",
        "elementwise",
        "native:elementwise",
    ),
    (
        NATIVE + "(anonymous namespace)::max_pool_forward_nchw<float, float>()",
        "reduction",
        "native:pool",
    ),
    (NATIVE + "tinygemm_m16n8k16_chunk_kernel<>()", "linear", "native:linear"),
]


@pytest.mark.parametrize(
    ("name", "cls", "rule"), KERNELS, ids=[name[:48] for name, _, _ in KERNELS]
)
def test_kernel_without_context(name: str, cls: str, rule: str) -> None:
    assert classify(Activity(name, "kernel")) == Verdict(cls, rule, "kernel name")


INDUCTOR = [
    ("triton_poi_fused_add_cos_sin_0", "elementwise", "inductor:pointwise"),
    ("triton_poi_fused__unsafe_view_mul_silu_2", "activation", "inductor:activation"),
    ("triton_red_fused_add_mean_mul_pow_rsqrt_0", "normalization", "inductor:norm"),
    (
        "triton_poi_fused__to_copy_add_addmm_cat_mean_mul_pow_rsqrt_view_9",
        "normalization",
        "inductor:norm",
    ),
    ("triton_per_fused_native_layer_norm_3", "normalization", "inductor:norm"),
    ("triton_per_fused__softmax_add_5", "softmax", "inductor:softmax"),
    ("triton_red_fused_amax_exp_sub_sum_1", "softmax", "inductor:softmax"),
    ("triton_red_fused_sum_7", "reduction", "inductor:reduction"),
    ("triton_red_fused__to_copy_mm_mul_sum_4", "linear", "inductor:matvec"),
    ("triton_red_fused__to_copy_add_mean_mm_mul_pow_rsqrt_5", "linear", "inductor:matvec"),
    ("triton_red_fused_add_addmm_mul_native_layer_norm_split_6", "normalization", "inductor:norm"),
    ("triton_tem_fused_mm_12", "linear", "inductor:mm"),
    ("triton_mm", "linear", "inductor:mm"),
    ("triton_tem_fused_flex_attention_0", "attention", "inductor:attention"),
    ("triton_tem_fused_convolution_2", "convolution", "inductor:convolution"),
    ("triton_poi_fused_index_put_8", "kv_cache_update", "inductor:kv-update"),
    ("triton_poi_fused_add_cat_cos_mul_neg_sin_slice_unsqueeze_4", "rope", "inductor:rope"),
    (
        "triton_poi_fused__to_copy_arange_cat_cos_div_exp_mul_sin_unsqueeze_3",
        "elementwise",
        "inductor:pointwise",
    ),
    ("triton_red_fused_abs_amax_transpose_view_32", "quantize", "inductor:absmax"),
    ("triton_poi_fused_embedding_0", "embedding", "inductor:embedding"),
    ("triton__0d1d2d3d4d5d", "elementwise", "inductor:unnamed"),
    ("graph_0_cpp_fused_add_mean_mul_pow_rsqrt_2", "normalization", "inductor:norm"),
]


@pytest.mark.parametrize(("name", "cls", "rule"), INDUCTOR, ids=[row[0] for row in INDUCTOR])
def test_generated_kernel(name: str, cls: str, rule: str) -> None:
    assert classify(Activity(name, "kernel", operators=("Torch-Compiled Region: 0/0",))) == Verdict(
        cls, rule, "metadata"
    )


def test_launching_operator_names_an_anonymous_triton_kernel() -> None:
    named = Activity(
        "triton_", "kernel", operators=("triton_poi_fused_gelu_1",), kernel_backend="triton"
    )
    assert classify(named) == Verdict("activation", "inductor:activation", "metadata")


def test_unknown_kernel_is_other_and_says_so() -> None:
    assert classify(Activity("my_kernel_v2", "kernel")) == Verdict("other", "none", "none")


def test_every_class_is_reachable_by_name() -> None:
    assert {cls for _, cls, _ in (*KERNELS, *INDUCTOR)} == set(CLASSES) - {"other"}
