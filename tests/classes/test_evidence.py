"""What encloses an activity: annotations, modules, operators, shapes, and which of them is heard first."""

from __future__ import annotations

import json

import pytest

from mmprof.analyzers.classes import Activity, Verdict, classify

GEMM = "ampere_sgemm_128x64_nn"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>()"
COPY = "void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda>()"
GATHER = "void at::native::vectorized_gather_kernel<16, long>(char*)"
CAT = "void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 4>()"
SOFTMAX = "void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float>()"
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL()"

OPERATORS = [
    (GEMM, "aten::mm aten::matmul aten::linear", "linear", "operator:matmul"),
    (GEMM, "aten::addmm aten::linear", "linear", "operator:matmul"),
    (GEMM, "aten::bmm aten::matmul", "linear", "operator:matmul"),
    (
        GEMM,
        "aten::mm AddmmBackward0 autograd::engine::evaluate_function: AddmmBackward0",
        "linear",
        "operator:matmul",
    ),
    (COPY, "aten::addmm aten::linear", "linear", "operator:matmul"),
    (COPY, "aten::copy_ aten::_to_copy aten::to aten::linear", "elementwise", "operator:cast"),
    (
        GEMM,
        "aten::cudnn_convolution aten::_convolution aten::conv2d",
        "convolution",
        "operator:convolution",
    ),
    (ADD, "aten::add_ aten::_convolution aten::conv2d", "convolution", "operator:convolution"),
    (
        GEMM,
        "aten::convolution_backward ConvolutionBackward0",
        "convolution",
        "operator:convolution",
    ),
    (
        GEMM,
        "aten::bmm aten::matmul aten::scaled_dot_product_attention",
        "attention",
        "operator:sdpa",
    ),
    ("attn_fwd", "aten::_flash_attention_forward", "attention", "operator:sdpa"),
    ("my_kernel", "flash_attn::_flash_attn_varlen_forward", "attention", "operator:sdpa"),
    (GATHER, "aten::index_select aten::embedding", "embedding", "operator:embedding"),
    (GATHER, "aten::index_select", "elementwise", "operator:index"),
    (
        "cub::DeviceRadixSortOnesweepKernel",
        "aten::embedding_dense_backward",
        "embedding",
        "operator:embedding",
    ),
    (SOFTMAX, "aten::_softmax aten::softmax", "softmax", "operator:softmax"),
    (ADD, "aten::clamp_min_ aten::relu_", "activation", "operator:activation"),
    (ADD, "aten::gelu_backward", "activation", "operator:activation"),
    (ADD, "aten::sum aten::native_layer_norm_backward", "normalization", "operator:norm"),
    (ADD, "aten::linalg_vector_norm", "reduction", "operator:reduction"),
    (ADD, "aten::_fused_adamw_", "elementwise", "operator:optimizer"),
    (ADD, "aten::_foreach_norm", "reduction", "operator:reduction"),
    (ADD, "aten::multinomial", "sampling", "operator:sampling"),
    (
        "cub::DeviceScanKernel",
        "fbgemm::asynchronous_complete_cumsum",
        "recommender",
        "operator:jagged",
    ),
    ("my_kernel", "fbgemm::FloatToFP8RowwiseQuantized", "quantize", "operator:quantize"),
    ("my_kernel", "quantized_decomposed::dequantize_per_tensor", "quantize", "operator:quantize"),
    (GEMM, "vllm::moe_forward", "moe", "operator:moe"),
    (GEMM, "aten::_scaled_mm", "linear", "operator:matmul"),
    (GEMM, "aten::_weight_int4pack_mm", "linear", "operator:matmul"),
    ("my_kernel", "_C::rotary_embedding", "rope", "operator:rope"),
    ("my_kernel", "record_param_comms c10d::allreduce_", "communication", "operator:collective"),
    (ADD, "aten::mul torch::distributed::reducer::mul_out", "elementwise", "operator:pointwise"),
]


@pytest.mark.parametrize(
    ("name", "operators", "cls", "rule"), OPERATORS, ids=[f"{r[3]}-{r[1][:40]}" for r in OPERATORS]
)
def test_operators_decide(name: str, operators: str, cls: str, rule: str) -> None:
    stack = tuple(operators.replace("function: ", "function:").split())
    assert classify(Activity(name, "kernel", operators=stack)) == Verdict(cls, rule, "operator")


MODULES = [
    ("Qwen2RMSNorm_4", ADD, ("aten::mul",), "normalization", "module:norm"),
    ("LayerNorm_0", COPY, ("aten::copy_", "aten::_to_copy"), "normalization", "module:norm"),
    ("Qwen2RotaryEmbedding_0", GEMM, ("aten::bmm", "aten::matmul"), "rope", "module:rotary"),
    ("QuickGELUActivation_3", ADD, ("aten::mul",), "activation", "module:activation"),
    ("Embedding_0", GATHER, ("aten::index_select",), "embedding", "module:embedding"),
    ("KVCache_2", COPY, ("aten::copy_",), "kv_cache_update", "module:kv_cache"),
    ("MixtralSparseMoeBlock_1", SOFTMAX, ("aten::_softmax",), "moe", "module:router"),
    ("Qwen3MoeExperts_1", GEMM, ("aten::mm", "aten::linear"), "moe", "module:experts"),
    ("TopKTopPSampler_0", SOFTMAX, ("aten::_softmax",), "sampling", "module:sampler"),
]


@pytest.mark.parametrize(
    ("module", "name", "operators", "cls", "rule"), MODULES, ids=[row[0] for row in MODULES]
)
def test_module_decides(
    module: str, name: str, operators: tuple[str, ...], cls: str, rule: str
) -> None:
    activity = Activity(name, "kernel", operators=operators, modules=(module, "Model_0"))
    assert classify(activity) == Verdict(cls, rule, "module")


@pytest.mark.parametrize(
    "module", ["Owlv2VisionEmbeddings_0", "Qwen2Attention_3", "LlamaMLP_0", "AdaLayerNormZero_1"]
)
def test_module_does_not_claim_a_projection(module: str) -> None:
    activity = Activity(
        GEMM, "kernel", operators=("aten::addmm", "aten::linear"), modules=(module,)
    )
    assert classify(activity) == Verdict("linear", "operator:matmul", "operator")


def test_only_the_innermost_module_is_heard() -> None:
    activity = Activity(
        GEMM,
        "kernel",
        operators=("aten::mm", "aten::linear"),
        modules=("Linear_5", "Qwen2RMSNorm_0"),
    )
    assert classify(activity).cls == "linear"


SHAPES = [
    ("aten::bmm", [[16, 559, 64], [16, 64, 559]], GEMM, "attention", "operator:attention-bmm"),
    ("aten::bmm", [[1, 559, 512], [1, 512, 512]], GEMM, "linear", "operator:matmul"),
    ("aten::cat", [[[2, 16, 9, 32], [2, 16, 9, 32]], []], CAT, "rope", "operator:rotate-cat"),
    (
        "aten::cat",
        [[[2, 16, 9, 64], [2, 16, 1, 64]], []],
        CAT,
        "kv_cache_update",
        "operator:kv-append",
    ),
    ("aten::cat", [[[0], [2, 16, 9, 64]], []], CAT, "kv_cache_update", "operator:kv-append"),
    ("aten::cat", [[[2, 9], [2, 1]], []], CAT, "elementwise", "operator:index"),
    ("aten::neg", [[2, 16, 9, 32]], ADD, "rope", "operator:rotate-neg"),
    ("aten::mul", [[2, 16, 9, 64], [1, 1, 9, 64]], ADD, "rope", "operator:rotate-mul"),
    ("aten::mul", [[2, 9, 16, 64], [2, 9, 1, 64]], ADD, "rope", "operator:rotate-mul"),
    ("aten::mul", [[2, 16, 9, 64], []], ADD, "elementwise", "operator:pointwise"),
    ("aten::add", [[2, 16, 9, 64], [2, 16, 9, 64], []], ADD, "rope", "operator:rotate-add"),
    ("aten::add", [[2, 16, 9, 9], [2, 16, 9, 9], []], ADD, "elementwise", "operator:pointwise"),
    (
        "aten::index_copy_",
        [[1, 8, 256, 64], [], [1], [1, 8, 1, 64]],
        COPY,
        "kv_cache_update",
        "operator:kv-write",
    ),
]


@pytest.mark.parametrize(
    ("operator", "dims", "name", "cls", "rule"), SHAPES, ids=[f"{r[4]}-{r[1]}" for r in SHAPES]
)
def test_shapes_decide_inside_an_attention_module(
    operator: str, dims: list[object], name: str, cls: str, rule: str
) -> None:
    activity = Activity(name, "kernel", (operator,), ("LlamaAttention_0",), dims=json.dumps(dims))
    assert classify(activity) == Verdict(cls, rule, "operator")


def test_same_shapes_outside_attention_mean_nothing() -> None:
    activity = Activity(ADD, "kernel", ("aten::neg",), ("Mlp_0",), dims="[[2, 16, 9, 32]]")
    assert classify(activity).cls == "elementwise"


def test_index_select_of_whole_caches_by_beam_is_reorder_wherever_it_happens() -> None:
    reorder = Activity(
        GATHER, "kernel", ("aten::index_select",), dims="[[10, 16, 77, 64], [], [10]]"
    )
    assert classify(reorder) == Verdict("kv_cache_reorder", "operator:kv-index-select", "operator")
    fewer = Activity(GATHER, "kernel", ("aten::index_select",), dims="[[10, 16, 77, 64], [], [3]]")
    assert classify(fewer).cls == "elementwise"


@pytest.mark.parametrize(
    ("operator", "dims", "cls"),
    [
        ("aten::argmax", "[[4, 32000], [], []]", "sampling"),
        ("aten::topk", "[[10, 256102], [], [], [], []]", "sampling"),
        ("aten::topk", "[[77, 64], [], [], [], []]", "reduction"),
        ("aten::sort", "[[4, 65536], [], []]", "sampling"),
        ("aten::argmax", "", "sampling"),
    ],
)
def test_choice_over_a_vocabulary_is_sampling(operator: str, dims: str, cls: str) -> None:
    assert classify(Activity("some_kernel", "kernel", (operator,), dims=dims)).cls == cls


@pytest.mark.parametrize("name", [GEMM, SOFTMAX, ADD, COPY, "unheard_of_kernel"])
def test_attention_chain_claims_its_kernels(name: str) -> None:
    chain = Activity(name, "kernel", ("aten::bmm", "aten::matmul"), in_attention_chain=True)
    assert classify(chain) == Verdict("attention", "operator:attention-chain", "operator")


@pytest.mark.parametrize("kind", ["memcpy", "memset"])
def test_category_comes_first(kind: str) -> None:
    activity = Activity("gemm", kind, ("aten::bmm",), ("RMSNorm_0",), ("kv_reorder",))
    assert classify(activity) == Verdict(kind, f"category:{kind}", "category")


def test_annotation_is_heard_before_module_and_operator() -> None:
    activity = Activity(
        GATHER,
        "kernel",
        ("aten::index_select", "aten::embedding"),
        ("Embedding_0",),
        ("kv_reorder", "ProfilerStep#3"),
    )
    assert classify(activity) == Verdict("kv_cache_reorder", "annotation:kv_reorder", "annotation")


@pytest.mark.parametrize(
    ("annotation", "cls"),
    [
        ("reorder_cache", "kv_cache_reorder"),
        ("KV cache reorder", "kv_cache_reorder"),
        ("apply_rotary_pos_emb", "rope"),
        ("sample_token", "sampling"),
        ("update_kv_cache", "kv_cache_update"),
        ("property", "elementwise"),
        ("sample 17", "elementwise"),
        ("ProfilerStep#3", "elementwise"),
    ],
)
def test_annotations_with_one_meaning(annotation: str, cls: str) -> None:
    assert (
        classify(Activity(COPY, "kernel", ("aten::copy_",), annotations=(annotation,))).cls == cls
    )


def test_annotation_does_not_turn_a_product_into_a_reorder() -> None:
    activity = Activity(GEMM, "kernel", ("aten::mm",), annotations=("kv_reorder",))
    assert classify(activity).cls == "linear"


def test_module_is_heard_before_operator() -> None:
    activity = Activity(ADD, "kernel", ("aten::mean",), ("LlamaRMSNorm_0",))
    assert classify(activity).by == "module"


def test_operator_is_heard_before_kernel_name() -> None:
    assert classify(Activity(GEMM, "kernel", ("aten::cudnn_convolution",))).by == "operator"
    assert classify(Activity(GEMM, "kernel")).by == "kernel name"


@pytest.mark.parametrize(
    ("name", "cls"),
    [(NCCL, "communication"), ("void vllm::reshape_and_cache_flash_kernel<>()", "kv_cache_update")],
)
def test_kernel_made_for_one_purpose_keeps_its_class_anywhere(name: str, cls: str) -> None:
    activity = Activity(
        name,
        "kernel",
        ("vllm::unified_attention", "aten::mm"),
        ("RMSNorm_0",),
        ("sampling",),
        in_attention_chain=True,
    )
    assert classify(activity).cls == cls


CPU_OPERATORS = [
    ("aten::_scaled_dot_product_flash_attention_for_cpu", (), "attention"),
    ("aten::mkldnn_convolution", ("aten::conv2d",), "convolution"),
    ("mkldnn::_linear_pointwise", (), "linear"),
    ("quantized::linear_dynamic", (), "linear"),
    ("onednn::qlinear_pointwise", (), "linear"),
    ("aten::addmm", ("aten::linear",), "linear"),
    ("aten::native_layer_norm", ("aten::layer_norm",), "normalization"),
    ("aten::_softmax", ("aten::softmax",), "softmax"),
    ("aten::gelu", (), "activation"),
    ("aten::copy_", ("aten::clone", "aten::contiguous"), "elementwise"),
    ("aten::embedding", (), "embedding"),
    ("aten::argmax", (), "sampling"),
    ("c10d::allreduce_", (), "communication"),
    ("aten::empty", (), "elementwise"),
    ("my_library::unknown", (), "other"),
]


@pytest.mark.parametrize(
    ("name", "ancestors", "cls"), CPU_OPERATORS, ids=[row[0] for row in CPU_OPERATORS]
)
def test_leaf_operators_of_a_cpu_trace(name: str, ancestors: tuple[str, ...], cls: str) -> None:
    assert classify(Activity(name, "operator", ancestors)).cls == cls
