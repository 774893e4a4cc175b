"""Rules on the kernels of PyTorch's own library: the functor in the template says what is computed."""

from __future__ import annotations

from mmprof.analyzers.classes.rules import Rule, words

NATIVE_KERNELS: tuple[Rule, ...] = (
    words("native:softmax", "softmax", "softmax"),
    words(
        "native:norm",
        "normalization",
        """layer_norm layernorm batch_norm batchnorm group_norm groupnorm instance_norm rms_norm rmsnorm weight_norm
        rowwisemoments gammabeta gradgamma computefusedparams computebackwardfusedparams computeinternalgradients""",
    ),
    words("native:quantize", "quantize", "fake_quant quantize hfp8 moving_avg_obs"),
    words("native:embedding", "embedding", "indexselect embedding vectorized_gather_kernel"),
    words("native:sampling", "sampling", "multinomial sampling topk argmaxops exponential_kernel"),
    words("native:attention", "attention", "attention fmha flash_ qkv"),
    words(
        "native:convolution",
        "convolution",
        "conv_depthwise conv2d conv3d convolution im2col col2im vol2col col2vol",
    ),
    words("native:linear", "linear", "int4_mm int8pack tinygemm gemm gemv matmul"),
    words("native:pool", "reduction", "pool"),
    words("native:list-norm", "reduction", "lpnormfunctor lpmaxfunctor"),
    words(
        "native:activation",
        "activation",
        """gelu silu relu threshold_kernel sigmoid tanh_kernel tanh_backward elu_kernel elu_backward hardswish hardtanh
        hardsigmoid mish softplus softshrink hardshrink glu_kernel glu_backward glubackward gluforward""",
    ),
    words(
        "native:reduction",
        "reduction",
        """reduce_kernel reducekernel ::reduceop nll_loss nllloss cross_entropy ctc_loss devicescan tensor_kernel_scan
        kernel_scan scan_innermost scan_outer cumsum cumprod sort median kthvalue mode_kernel unique histogram bincount
        cdist nonzero segment_reduce radix bitonic searchsorted bucketize gathermedian compute_mode""",
    ),
    words(
        "native:elementwise",
        "elementwise",
        """elementwise catarray catfused copy fill index scatter gather dropout distribution multi_tensor_apply fusedadam
        fusedsgd fusedoptimizer foreach upsample triu_tril roll flip pad arange linspace where masked take_put put_
        philox random normal uniform bernoulli compute_grad_weight reflection replication grid_sampler amp_ transpose
        kernelpointwise pointwise loop_kernel diag renorm krn_partial sum_and_scatter split_with_sizes""",
    ),
)
