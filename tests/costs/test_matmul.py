from __future__ import annotations

import pytest
from operator_calls import BF16, modelled, recorded, work

from mmprof.analyzers.costs import Cost, cost_of


def test_mm_reads_both_matrices_and_writes_the_product() -> None:
    # 2·2·3·4 operations; (2·3 + 3·4 + 2·4) floats
    assert work("aten::mm", "float[2,3]", "float[3,4]") == (48, 4 * 26)


def test_a_given_result_is_counted_once() -> None:
    assert work("aten::mm", "float[2,3]", "float[3,4]", "float[2,4]") == (48, 4 * 26)


def test_addmm_adds_the_bias_once_for_each_output_element() -> None:
    arguments = (f"{BF16}[4]", f"{BF16}[2,3]", f"{BF16}[3,4]", "Scalar", "Scalar")
    assert modelled(recorded("aten::addmm", *arguments)) == Cost(48 + 8, 2 * 30, BF16, "matmul")


def test_a_bias_of_no_weight_is_not_read() -> None:
    arguments = ("float[2,4]", "float[2,3]", "float[3,4]", "Scalar", "Scalar")
    assert work("aten::addmm", *arguments, concrete=("", "", "", "0", "1")) == (48, 4 * 26)


@pytest.mark.parametrize(
    ("name", "arguments", "flops"),
    [
        ("aten::bmm", ("float[5,2,3]", "float[5,3,4]"), 5 * 48),
        ("aten::baddbmm", ("float[5,2,4]", "float[5,2,3]", "float[5,3,4]"), 5 * 56),
        ("aten::addbmm", ("float[2,4]", "float[5,2,3]", "float[5,3,4]"), 5 * 48 + 8),
        ("aten::matmul", ("float[6,5,2,3]", "float[3,4]"), 30 * 48),
        ("aten::matmul", ("float[3]", "float[3]"), 6),
        ("aten::mv", ("float[2,3]", "float[3]"), 12),
        ("aten::linear", ("float[5,2,3]", "float[4,3]", "float[4]"), 5 * 56),
        ("aten::linear", ("float[5,2,3]", "float[4,3]", ""), 5 * 48),
        ("mkl::_mkl_linear", ("float[2,3]", "float[1]", "float[4,3]", "", "Scalar"), 48),
        ("mkldnn::_linear_pointwise", ("float[2,3]", "float[4,3]", "float[4]"), 56),
        ("mkldnn::_linear_pointwise", ("float[2,3]", "float[2,4]", "float[4,3]", ""), 48),
    ],
)
def test_flops_of_the_other_products(name: str, arguments: tuple[str, ...], flops: int) -> None:
    assert work(name, *arguments)[0] == flops


@pytest.mark.parametrize(
    "arguments",
    [
        ("float[2,3]", "float[4,3]"),
        ("float[5,2,3]", "float[6,3,4]"),
        ("float[2,3]",),
        ("float[2,3]", "Scalar"),
    ],
)
def test_what_does_not_multiply_has_no_cost(arguments: tuple[str, ...]) -> None:
    assert cost_of(recorded("aten::bmm", *arguments)) is None


def test_a_batch_of_vectors_cannot_be_summed() -> None:
    assert cost_of(recorded("aten::addbmm", "float[1]", "float[3]", "float[3]")) is None


def test_dynamically_quantized_products_record_their_extents() -> None:
    arguments = ("float[2,8]", "unsigned char[70]", "Scalar", "Scalar", "Scalar")
    concrete = ("", "", "32", "8", "16")
    assert work("aten::_dyn_quant_matmul_4bit", *arguments, concrete=concrete) == (
        2 * 2 * 8 * 16,
        64 + 70 + 128,
    )


def test_float4_bytes_hold_two_values() -> None:
    arguments = (f"{BF16}[2,4]", "unsigned char[2,8]", "unsigned char[4,8]", "float[]")
    assert work("_C::cutlass_scaled_fp4_mm", *arguments) == (2 * 2 * 16 * 4, 16 + 16 + 32 + 4)


def test_scaled_groups_write_bfloat16() -> None:
    fp8 = "c10::Float8_e4m3fn"
    arguments = (f"{fp8}[10,3]", f"{fp8}[5,3,4]", "float[10]", "float[5,4]", "int[5]")
    assert work("aten::_scaled_grouped_mm", *arguments) == (240, 30 + 60 + 2 * 40 + 4 * 35)


def test_int8_products_write_int32() -> None:
    bitsandbytes = work("bitsandbytes::int8_linear_matmul", "signed char[2,3]", "signed char[4,3]")
    assert bitsandbytes == (48, 6 + 12 + 4 * 8)
    assert work("aten::_int_mm", "signed char[2,3]", "signed char[3,4]") == (48, 6 + 12 + 4 * 8)


def test_packed_weights_are_counted_as_they_lie_in_memory() -> None:
    int8 = work("aten::_weight_int8pack_mm", f"{BF16}[2,8]", "signed char[16,8]", f"{BF16}[16]")
    assert int8 == (2 * 2 * 8 * 16, 2 * 16 + 128 + 2 * 32 + 2 * 16)
    # (N/8, K/128, 32, 4) int32 holds N·K/2 bytes: N = 8, K = 128
    int4 = work(
        "aten::_weight_int4pack_mm", f"{BF16}[2,128]", "int[1,1,32,4]", "Scalar", f"{BF16}[4,8,2]"
    )
    assert int4 == (2 * 2 * 128 * 8, 2 * 256 + 512 + 2 * 16 + 2 * 64)


def test_scaled_mm_takes_its_result_type_from_the_recorded_argument() -> None:
    arguments = ("c10::Float8_e4m3fn[2,3]", "c10::Float8_e4m3fn[3,4]", "float[]", "float[]", "", "")
    concrete = ("",) * 6 + ("15", "True")
    cost = modelled(recorded("aten::_scaled_mm", *arguments, "Scalar", "Scalar", concrete=concrete))
    assert cost == Cost(48, 6 + 12 + 2 * 8 + 8, "c10::Float8_e4m3fn", "scaled matmul")


def test_packed_float4_has_twice_the_recorded_inner_extent() -> None:
    packed = ("c10::Float4_e2m1fn_x2[2,8]", "c10::Float4_e2m1fn_x2[8,4]", "float[]", "float[]")
    cost = modelled(recorded("aten::_scaled_mm", *packed, concrete=("",) * 6 + ("15",)))
    assert (cost.flops, cost.bytes) == (2 * 2 * 16 * 4, 16 + 32 + 2 * 8 + 8)


def test_serving_libraries_pass_the_result_or_a_row_major_weight() -> None:
    fp8 = "c10::Float8_e4m3fn"
    vllm = work(
        "_C::cutlass_scaled_mm",
        f"{BF16}[2,4]",
        f"{fp8}[2,3]",
        f"{fp8}[3,4]",
        "float[2]",
        "float[4]",
        "",
    )
    assert vllm == (48, 2 * 8 + 6 + 12 + 4 * 6)
    row_major = work(
        "aiter::gemm_a8w8_ck",
        f"{fp8}[2,3]",
        f"{fp8}[4,3]",
        "float[2]",
        "float[4]",
        f"{BF16}[2,4]",
        f"{BF16}[4]",
    )
    assert row_major == (56, 6 + 12 + 4 * 6 + 2 * 8 + 2 * 4)


@pytest.mark.parametrize(
    ("a", "b", "flops"),
    [
        ("[10,3]", "[5,3,4]", 2 * 10 * 3 * 4),  # groups share M
        ("[5,2,3]", "[3,20]", 2 * 2 * 3 * 20),  # groups share N
        ("[2,30]", "[30,4]", 2 * 2 * 30 * 4),  # groups share K
        ("[5,2,3]", "[5,3,4]", 5 * 48),
    ],
)
def test_grouped_products_do_the_work_of_their_parts(a: str, b: str, flops: int) -> None:
    offsets = "int[5]"
    assert work("aten::_grouped_mm", f"{BF16}{a}", f"{BF16}{b}", offsets)[0] == flops
