"""Which operators do work of their own on the CPU, and which only describe tensors or call other operators.

Read from the dispatcher of torch 2.13: an operator with a kernel for the CPU works itself, whatever it calls on the way
(`aten::addmm` copies its bias by `aten::copy_` and then multiplies); one whose results are views only describes. Of operators
that are in neither list, those of other libraries among them, the trace tells: they work where nothing inside them does.
"""

from __future__ import annotations

from typing import Final


def _aten(names: str) -> frozenset[str]:
    return frozenset(f"aten::{name}" for name in names.split())


DESCRIBES: Final = _aten(
    """
    _autocast_to_full_precision _autocast_to_reduced_precision _conj _fw_primal _has_compatible_shallow_copy_type
    _indices _local_scalar_dense _make_dual _neg_view _nested_get_values _nested_view_from_buffer
    _nested_view_from_jagged _nnpack_available _reshape_alias _reshape_copy _sparse_broadcast_to
    _test_autograd_multiple_dispatch_view _unpack_dual _unsafe_view _values adjoint alias as_strided as_strided_
    broadcast_to can_cast ccol_indices chunk coalesce col_indices conj contiguous crow_indices detach detach_
    diagonal dim dsplit empty empty_like empty_permuted empty_quantized empty_strided expand expand_as flatten
    hsplit imag indices is_contiguous is_nonzero is_pinned is_same_size item lift lift_fresh linalg_diagonal mH mT
    matrix_H moveaxis movedim narrow new_empty new_empty_strided numel numpy_T permute pin_memory positive
    promote_types ravel real record_stream requires_grad_ reshape reshape_as resize_ resize_as_ resolve_conj
    resolve_neg result_type retain_grad row_indices scalar_tensor select set_ size slice slice_inverse split
    split_with_sizes squeeze squeeze_ storage_offset stride swapaxes swapaxes_ swapdims swapdims_ sym_numel sym_size
    sym_storage_offset sym_stride t t_ tensor_split to transpose transpose_ unbind unflatten unfold unsqueeze
    unsqueeze_ values view view_as view_as_complex view_as_real vsplit
    """
)
"""Views, allocations and questions about a tensor: no data is read or written, but for the scalar of `aten::item`."""

WORKS: Final = _aten(
    """
    __ilshift__ __irshift__ __lshift__ __rshift__ _adaptive_avg_pool2d _adaptive_avg_pool2d_backward
    _adaptive_avg_pool3d _adaptive_avg_pool3d_backward _add_relu _add_relu_ _addmm_activation _aminmax
    _amp_foreach_non_finite_check_and_unscale_ _amp_update_scale_ _assert_async _batch_norm_with_update
    _cdist_backward _cdist_forward _cholesky_solve_helper _compute_linear_combination
    _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo _convert_weight_to_int4pack_for_cpu _ctc_loss
    _ctc_loss_backward _cummax_helper _cummin_helper _dirichlet_grad _dyn_quant_matmul_4bit
    _dyn_quant_pack_4bit_weight _efficientzerotensor _embedding_bag _embedding_bag_backward
    _embedding_bag_dense_backward _embedding_bag_forward_only _embedding_bag_per_sample_weights_backward
    _empty_affine_quantized _empty_per_channel_affine_quantized _fake_quantize_learnable_per_channel_affine
    _fake_quantize_learnable_per_channel_affine_backward _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_learnable_per_tensor_affine_backward _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
    _fft_c2c _fft_c2r _fft_r2c _functional_assert_async _fused_adagrad_ _fused_adam_ _fused_adamw_
    _fused_moving_avg_obs_fq_helper _fused_sdp_choice _fused_sgd_ _histogramdd_bin_edges _histogramdd_from_bin_cts
    _histogramdd_from_bin_tensors _index_put_impl_ _int_mm _jagged_to_padded_dense_forward _linalg_det _linalg_eigh
    _linalg_eigvals _linalg_slogdet _linalg_solve_ex _linalg_svd _log_softmax _log_softmax_backward_data
    _logcumsumexp _make_dep_token _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor
    _masked_softmax _masked_softmax_backward _native_batch_norm_legit _native_multi_head_attention
    _nested_compute_contiguous_strides_offsets _nested_from_padded _nested_tensor_from_mask
    _nested_tensor_from_mask_left_aligned _padded_dense_to_jagged_forward _pdist_backward _pdist_forward
    _prelu_kernel _prelu_kernel_backward _sample_dirichlet _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention_for_cpu_backward _scaled_mm _scaled_mm_v2 _segment_reduce_backward
    _slow_conv2d_backward _slow_conv2d_forward _softmax _softmax_backward_data _spdiags _stack _standard_gamma
    _standard_gamma_grad _test_functorch_fallback _test_optional_filled_intlist _test_optional_floatlist
    _test_optional_intlist _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr
    _transform_bias_rescale_qkv _transformer_encoder_layer_fwd _unique _unique2 _upsample_bicubic2d_aa
    _upsample_bicubic2d_aa_backward _upsample_bilinear2d_aa _upsample_bilinear2d_aa_backward _upsample_lanczos2d_aa
    _upsample_lanczos2d_aa_backward _upsample_nearest_exact1d _upsample_nearest_exact1d_backward
    _upsample_nearest_exact2d _upsample_nearest_exact2d_backward _upsample_nearest_exact3d
    _upsample_nearest_exact3d_backward _validate_compressed_sparse_indices _weight_int4pack_mm_for_cpu
    _weight_int8pack_mm _weight_norm_interface _weight_norm_interface_backward abs acos acos_ acosh acosh_
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_avg_pool3d_backward adaptive_max_pool2d
    adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward add add_ addbmm addbmm_ addcdiv
    addcdiv_ addcmul addcmul_ addmm addmm_ addmv addmv_ addr all amax amin aminmax angle any arange argmax argmin
    asin asin_ asinh asinh_ atan atan2 atan2_ atan_ atanh atanh_ avg_pool2d avg_pool2d_backward avg_pool3d
    avg_pool3d_backward baddbmm baddbmm_ batch_norm_backward batch_norm_update_stats bernoulli bernoulli_
    binary_cross_entropy binary_cross_entropy_backward bincount binomial bitwise_and bitwise_and_ bitwise_left_shift
    bitwise_left_shift_ bitwise_not bitwise_not_ bitwise_or bitwise_or_ bitwise_right_shift bitwise_right_shift_
    bitwise_xor bitwise_xor_ bmm bucketize cat cauchy_ ceil ceil_ channel_shuffle cholesky cholesky_inverse clamp
    clamp_ clamp_max clamp_max_ clamp_min clamp_min_ col2im complex conj_physical copysign copysign_ cos cos_ cosh
    cosh_ count_nonzero cumprod cumprod_ cumsum cumsum_ dequantize digamma digamma_ div div_ dot elu elu_
    elu_backward embedding_dense_backward embedding_renorm_ eq eq_ equal erf erf_ erfc erfc_ erfinv erfinv_ exp exp2
    exp2_ exp_ expm1 expm1_ exponential_ eye fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask fill_ flip floor floor_ floor_divide floor_divide_ fmax fmin fmod
    fmod_ frac frac_ fractional_max_pool2d fractional_max_pool2d_backward fractional_max_pool3d
    fractional_max_pool3d_backward frexp from_file gather gcd gcd_ ge ge_ gelu gelu_ gelu_backward geometric_ geqrf
    glu glu_backward glu_backward_jvp glu_jvp grid_sampler_2d grid_sampler_2d_backward grid_sampler_3d
    grid_sampler_3d_backward gt gt_ hardshrink hardshrink_backward hardsigmoid hardsigmoid_ hardsigmoid_backward
    hardswish hardswish_ hardswish_backward hardtanh hardtanh_ hardtanh_backward hash_tensor heaviside heaviside_
    histc histogram huber_loss huber_loss_backward hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_ im2col index
    index_add index_add_ index_copy index_copy_ index_fill_ index_reduce index_reduce_ index_select is_set_to isin
    isnan isneginf isposinf kthvalue lcm lcm_ le le_ leaky_relu leaky_relu_ leaky_relu_backward lerp lerp_ lgamma
    lgamma_ linalg__powsum linalg_cholesky_ex linalg_cross linalg_eig linalg_eigvals linalg_householder_product
    linalg_inv_ex linalg_ldl_factor_ex linalg_ldl_solve linalg_lstsq linalg_lu linalg_lu_factor_ex linalg_lu_solve
    linalg_matrix_exp linalg_qr linalg_solve_triangular linalg_vector_norm linspace log log10 log10_ log1p log1p_
    log2 log2_ log_ log_normal_ log_sigmoid_backward log_sigmoid_forward logaddexp logaddexp2 logical_and
    logical_not logical_or logical_xor logit logit_ logit_backward logspace lt lt_ lu_unpack masked_fill_
    masked_scatter_ masked_select max max_pool2d_with_indices max_pool2d_with_indices_backward
    max_pool3d_with_indices max_pool3d_with_indices_backward max_unpool2d max_unpool3d maximum mean median min
    minimum mish mish_ mish_backward mkldnn_rnn_layer mkldnn_rnn_layer_backward mm mode mse_loss mse_loss_backward
    mul mul_ multi_margin_loss multi_margin_loss_backward multilabel_margin_loss_backward
    multilabel_margin_loss_forward multinomial mvlgamma nan_to_num nanmedian nansum narrow_copy native_batch_norm
    native_batch_norm_backward native_channel_shuffle native_dropout native_dropout_backward native_group_norm
    native_group_norm_backward native_layer_norm native_layer_norm_backward ne ne_ neg neg_ nextafter nextafter_
    nll_loss2d_backward nll_loss2d_forward nll_loss_backward nll_loss_forward nonzero nonzero_static norm normal
    normal_ ormqr pixel_shuffle pixel_unshuffle poisson polar polygamma pow pow_ prod put_ quantize_per_channel
    quantize_per_tensor quantize_per_tensor_dynamic quantized_gru quantized_lstm random_ randperm range reciprocal
    reciprocal_ reflection_pad1d reflection_pad1d_backward reflection_pad2d reflection_pad2d_backward
    reflection_pad3d reflection_pad3d_backward relu relu_ remainder remainder_ renorm renorm_ repeat_interleave
    replication_pad1d replication_pad1d_backward replication_pad2d replication_pad2d_backward replication_pad3d
    replication_pad3d_backward roll round round_ rrelu_with_noise rrelu_with_noise_ rsqrt rsqrt_ rsub scatter
    scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ searchsorted segment_reduce sgn sgn_ sigmoid
    sigmoid_ sigmoid_backward sign sign_ signbit silu silu_ silu_backward sin sin_ sinc sinc_ sinh sinh_
    slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d slow_conv_transpose2d slow_conv_transpose3d
    smooth_l1_loss smooth_l1_loss_backward softplus softplus_backward softshrink softshrink_backward sort
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_entr special_erfcx special_hermite_polynomial_h
    special_hermite_polynomial_he special_i0e special_i1 special_i1e special_laguerre_polynomial_l
    special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri special_scaled_modified_bessel_k0
    special_scaled_modified_bessel_k1 special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_spherical_bessel_j0
    special_xlog1py special_zeta sqrt sqrt_ sspaddmm std std_mean sub sub_ sum take tan tan_ tanh tanh_
    tanh_backward threshold threshold_ threshold_backward to_mkldnn topk trace triangular_solve tril tril_
    tril_indices triu triu_ triu_indices trunc trunc_ unfold_backward uniform_ unique_consecutive unique_dim
    unique_dim_consecutive upsample_bicubic2d upsample_bicubic2d_backward upsample_bilinear2d
    upsample_bilinear2d_backward upsample_linear1d upsample_linear1d_backward upsample_nearest1d
    upsample_nearest1d_backward upsample_nearest2d upsample_nearest2d_backward upsample_nearest3d
    upsample_nearest3d_backward upsample_trilinear3d upsample_trilinear3d_backward var var_mean vdot where xlogy
    xlogy_ zero_
    """
)
"""Operators with a kernel of their own."""

CALLS_LIBRARY: Final = _aten("_convolution mkldnn_convolution")
"""Operators without one that call oneDNN or XNNPACK themselves, where no operator inside them works but `MOVES_DATA`.

`aten::_convolution` leaves a plain convolution to `aten::mkldnn_convolution`, but not a transposed one."""

MOVES_DATA: Final = _aten("clone copy_ fill_ zero_")
"""What a caller of a library does to its operands: it brings them into the library's layout."""
