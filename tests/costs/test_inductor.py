from __future__ import annotations

import pytest
from operator_calls import BF16, modelled, recorded, work

from mmprof.analyzers.costs import Cost, cost_of
from mmprof.analyzers.costs.families.inductor import fused_operators


@pytest.mark.parametrize(
    ("kernel", "operators"),
    [
        ("triton_poi_fused_add_cos_sin_0", ["add", "cos", "sin"]),
        ("triton_poi_fused__unsafe_view_mul_silu_2", ["_unsafe_view", "mul", "silu"]),
        ("triton_per_fused_native_layer_norm__to_copy_0", ["native_layer_norm", "_to_copy"]),
        ("triton_poi_fused_constant_pad_nd_moe_forward_0", ["constant_pad_nd"]),
        ("triton_tem_fused_addmm_12", ["addmm"]),
        ("triton_poi_fused_3", []),
        ("something_else", []),
    ],
)
def test_the_fused_operators_are_read_from_the_name(kernel: str, operators: list[str]) -> None:
    assert fused_operators(kernel) == operators


def test_a_pointwise_kernel_counts_its_operands_and_one_operation_an_operator() -> None:
    arguments = ("float[10,10]", "float[10,10]", "float[10,10]", "Scalar")
    call = recorded("triton_poi_fused_add_cos_sin_0", *arguments, concrete=("", "", "", "100"))
    assert modelled(call) == Cost(300, 1200, "float", "fused kernel")


def test_views_and_copies_in_the_name_compute_nothing() -> None:
    arguments = (f"{BF16}[4,8]", f"{BF16}[32]", "Scalar")
    flops, moved = work(
        "triton_poi_fused__unsafe_view_clone_0", *arguments, concrete=("", "", "32")
    )
    assert (flops, moved) == (0, 128)


def test_a_reduction_covers_the_product_of_its_sizes() -> None:
    arguments = (f"{BF16}[4,8]", f"{BF16}[4]", "Scalar", "Scalar")
    call = recorded("triton_red_fused_mean_pow_0", *arguments, concrete=("", "", "4", "8"))
    assert modelled(call) == Cost(2 * 32, 64 + 8, BF16, "fused kernel")


def test_a_gathering_kernel_does_not_read_the_whole_table() -> None:
    arguments = ("long int[4]", f"{BF16}[50000,8]", f"{BF16}[4,8]", "Scalar")
    moved = work("triton_poi_fused_embedding_0", *arguments, concrete=("", "", "", "32"))[1]
    assert moved == 32 + 2 * 32 + 64


@pytest.mark.parametrize(
    ("kernel", "arguments", "flops"),
    [
        ("triton_tem_fused_mm_0", ("[6,10]", "[10,14]", "[6,14]"), 2 * 6 * 10 * 14),
        # the weight as it lies in memory, and a bias before the operands
        ("triton_tem_fused_addmm_1", ("[14]", "[6,10]", "[14,10]", "[6,14]"), 2 * 6 * 10 * 14),
        ("triton_tem_fused_bmm_2", ("[3,6,10]", "[3,10,14]", "[3,6,14]"), 3 * 2 * 6 * 10 * 14),
    ],
)
def test_a_template_is_the_product_its_element_counts_allow(
    kernel: str, arguments: tuple[str, ...], flops: int
) -> None:
    cost = modelled(recorded(kernel, *[f"{BF16}{shape}" for shape in arguments]))
    assert (cost.flops, cost.dtype, cost.model) == (flops, BF16, "matmul")


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        ("triton_tem_fused_mm_0", ("[6,10]", "[11,14]", "[6,14]")),  # no product of these counts
        ("triton_tem_fused_mm_0", ("[6,10]", "[10,14]")),
        ("triton_tem_fused_flex_attention_0", ("[6,10]", "[10,14]", "[6,14]")),
        ("triton_poi_fused_add_0", ()),
    ],
)
def test_other_kernels_have_no_cost(kernel: str, arguments: tuple[str, ...]) -> None:
    assert cost_of(recorded(kernel, *[f"{BF16}{shape}" for shape in arguments])) is None
