"""Copies, lookups, resampling, quantization and the libraries' fused operators."""

from __future__ import annotations

import pytest
from operator_calls import BF16, recorded, work

from mmprof.analyzers.costs import cost_of


@pytest.mark.parametrize(
    ("name", "arguments", "concrete", "moved"),
    [
        ("aten::copy_", (f"{BF16}[8]", "float[8]", "Scalar"), (), 16 + 32),
        ("aten::copy_", ("float[4,8]", "float[8]", "Scalar"), (), 128 + 32),
        ("aten::clone", ("float[8]", ""), (), 64),
        ("aten::_to_copy", ("float[8]", "Scalar"), ("", "15"), 32 + 16),
        ("aten::fill_", ("float[8]", "Scalar"), ("", "0"), 32),
        ("aten::view", ("float[8]", "ScalarList"), ("", "[2, 4]"), 0),
        ("aten::masked_fill", ("float[4,8]", "bool[8]", "Scalar"), (), 128 + 8 + 128),
        ("aten::repeat", ("float[8]", "ScalarList"), ("", "[3, 2]"), 32 + 192),
        ("aten::constant_pad_nd", ("float[4,8]", "ScalarList"), ("", "[1, 2]"), 128 + 4 * 44),
        ("aten::arange", ("Scalar", "Scalar", "Scalar", "long[0]"), ("2", "9", "2", ""), 32),
        ("aten::_local_scalar_dense", ("long[]",), (), 8),
        # 5 rows of 3 from a table of 100, then from one of 2
        ("aten::embedding", ("float[100,3]", "long[5]"), (), 60 + 40 + 60),
        ("aten::embedding", ("float[2,3]", "long[5]"), (), 24 + 40 + 60),
        ("aten::index_select", ("float[100,3]", "Scalar", "int[5]"), ("", "0", ""), 60 + 20 + 60),
        ("aten::index_select", ("float[100]", "Scalar", "int[5]"), (), 20 + 20 + 20),
        ("aten::gather", ("float[50]", "Scalar", "long[20]"), (), 80 + 160 + 80),
        ("aten::scatter_", ("float[9]", "Scalar", "long[4]", "float[4]"), (), 32 + 16 + 16),
        ("aten::scatter", ("float[9]", "Scalar", "long[4]", "Scalar"), (), 32 + 16 + 72),
        ("aten::index_copy_", ("float[9,2]", "Scalar", "long[4]", "float[4,2]"), (), 32 + 32 + 32),
        ("aten::upsample_nearest2d", (f"{BF16}[1,2,4,4]", "ScalarList"), ("", "[8, 8]"), 64 + 256),
        ("aten::im2col", ("float[1,1,4,4]",), ("", "[2, 2]", "[1, 1]", "[0, 0]", "[2, 2]"), 64 + 64),
        ("_C_cache_ops::reshape_and_cache_flash", (f"{BF16}[4,2,8]",) * 2 + ("unsigned char[9,9,2,8]",) * 2 + ("long[4]",), (), 256 + 128 + 32),
        ("fbgemm::permute_pooled_embs_auto_grad", ("float[4,6]", "long[3]"), (), 96 + 24 + 96),
        ("fbgemm::permute_2D_sparse_data", ("int[3]", "int[3,4]", "int[50]", ""), (), 12 + 96 + 400),
    ],
)  # fmt: skip
def test_bytes_of_pure_movement(
    name: str, arguments: tuple[str, ...], concrete: tuple[str, ...], moved: int
) -> None:
    assert work(name, *arguments, concrete=concrete)[1] == moved


FP8 = "c10::Float8_e4m3fn"
PAGES = "unsigned char[9,9,10]"


@pytest.mark.parametrize(
    ("name", "arguments", "concrete", "flops", "moved"),
    [
        ("aten::scalar_tensor", ("Scalar", "Scalar"), ("1", "15"), 0, 2),
        ("aten::repeat_interleave", ("float[8]", "Scalar"), ("", "3"), 0, 32 + 96),
        ("aten::linspace", ("Scalar", "Scalar", "Scalar", "float[0]"), ("0", "1", "5", ""), 0, 20),
        ("aten::slice_scatter", ("float[8]", "float[2]"), (), 0, 32 + 8 + 32),
        ("aten::slice_backward", ("float[2]", "ScalarList"), ("", "[8]"), 0, 8 + 32),
        ("aten::take", ("float[9]", "long[4]"), (), 0, 16 + 32 + 16),
        ("aten::embedding_dense_backward", ("float[5,3]", "long[5]"), ("", "", "10"), 15, 60 + 40 + 120),
        ("aten::_embedding_bag", ("float[99,3]", "long[6]", "long[2]"), (), 18, 72 + 48 + 16 + 24),
        ("aten::_embedding_bag", ("float[99,3]", "long[6]", "long[2]"), ("",) * 7 + ("True",), 18, 72 + 48 + 16 + 12),
        ("aten::embedding_bag", ("float[99,3]", "long[2,3]", "long[0]"), (), 18, 72 + 48 + 24),
        ("aten::index_fill_", ("float[9,2]", "Scalar", "long[4]"), ("", "0", "", "1"), 0, 32 + 32),
        # 7 boundaries are searched in 3 steps
        ("aten::bucketize", ("float[8]", "float[7]"), (), 24, 32 + 28 + 64),
        ("aten::searchsorted", ("float[7]", "float[8]"), ("", "", "True"), 24, 28 + 32 + 32),
        ("aten::upsample_nearest2d_backward", ("float[1,2,8,8]",), ("", "[8, 8]", "[1, 2, 4, 4]"), 128, 512 + 128),
        ("aten::col2im", ("float[1,8,4]",), ("", "[4, 4]", "[2, 2]"), 32, 128 + 128),
        ("aten::grid_sampler_2d", ("float[1,2,4,4]", "float[1,3,3,2]"), ("", "", "0"), 8 * 18, 128 + 72 + 72),
        ("aten::grid_sampler_2d", ("float[1,2,4,4]", "float[1,3,3,2]"), ("", "", "1"), 18, 72 + 72 + 72),
        ("aten::quantize_per_tensor", ("float[8]",), ("", "0.1", "0", "13"), 24, 32 + 8),
        ("aten::dequantize", ("c10::quint8[8]",), (), 16, 8 + 32),
        ("aten::fake_quantize_per_tensor_affine_cachemask", ("float[8]", "float[1]", "int[1]"), (), 40, 32 + 8 + 32 + 8),
        ("_C::per_token_group_fp8_quant", (f"{BF16}[4,8]", f"{FP8}[4,8]", "float[4,1]"), (), 160, 64 + 32 + 16),
        ("_C_cache_ops::concat_and_cache_mla", (f"{BF16}[4,8]", f"{BF16}[4,2]", PAGES, "long[4]"), (), 0, 64 + 16 + 32 + 32 + 8),
        ("_moe_C::topk_softmax", ("float[4,2]", "int[4,2]", "int[4,2]", f"{BF16}[4,16]"), (), 6 * 64, 96 + 128),
        ("_moe_C::moe_sum", (f"{BF16}[4,2,8]", f"{BF16}[4,8]"), (), 64, 128 + 64),
        ("fbgemm::asynchronous_complete_cumsum", ("int[4]",), (), 4, 16 + 20),
        ("fbgemm::bounds_check_indices", ("long[2]", "long[7]", "long[7]"), (), 7, 16 + 56 + 56),
        # rows of 6 are padded to 8 and carry 8 bytes of scale
        ("fbgemm::FloatToFP8RowwiseQuantized", ("float[3,6]",), (), 90, 72 + 3 * 16),
        ("fbgemm::FP8RowwiseQuantizedToFloat", ("unsigned char[3,16]",), (), 48, 48 + 96),
        ("fbgemm::FloatToHFP8Quantized", ("float[8]",), (), 24, 32 + 8),
        ("fbgemm::HFP8QuantizedToFloat", ("unsigned char[8]",), (), 16, 8 + 32),
        ("fbgemm::dense_to_jagged", ("float[2,5,3]", "TensorList[[3]]", "Scalar"), ("", "", "7"), 0, 84 + 84),
        ("fbgemm::jagged_to_padded_dense", ("float[7,3]", "TensorList[[3]]"), ("", "", "[5]"), 0, 84 + 120),
    ],
)  # fmt: skip
def test_lookups_resampling_and_library_operators(
    name: str, arguments: tuple[str, ...], concrete: tuple[str, ...], flops: int, moved: int
) -> None:
    assert work(name, *arguments, concrete=concrete) == (flops, moved)


def test_an_unknown_dtype_number_has_no_cost() -> None:
    assert cost_of(recorded("aten::_to_copy", "float[8]", "Scalar", concrete=("", "99"))) is None


def test_resizing_is_free_only_while_there_is_nothing_to_copy() -> None:
    assert work("aten::resize_", "float[0]", "ScalarList") == (0, 0)
    assert cost_of(recorded("aten::resize_", "float[8]", "ScalarList")) is None


def test_movement_computes_nothing() -> None:
    assert work("aten::copy_", "float[8]", "float[8]")[0] == 0
    assert work("aten::gather", "float[50]", "Scalar", "long[20]")[0] == 0


def test_accumulating_scatters_read_what_they_add_to() -> None:
    arguments = ("float[9]", "Scalar", "long[4]", "float[4]")
    assert work("aten::scatter_add_", *arguments) == (4, 32 + 16 + 2 * 16)


def test_cat_reads_and_writes_the_sum_of_its_inputs() -> None:
    lists = "TensorList[[2,3],[4,3]]"
    assert work("aten::cat", lists, "Scalar", element_dtype="OpaqueType<2>") == (0, 2 * 2 * 18)
    assert work("aten::cat", "float[6,3]", lists, "Scalar") == (0, 2 * 4 * 18)
    assert cost_of(recorded("aten::cat", lists, "Scalar")) is None


def test_interpolation_sums_its_neighbours() -> None:
    flops, _ = work("aten::upsample_bilinear2d", "float[1,2,4,4]", concrete=("", "[8, 8]", "False"))
    assert flops == 8 * 128


def test_quantization_into_a_given_result_touches_each_operand() -> None:
    arguments = ("c10::Float8_e4m3fn[4,8]", f"{BF16}[4,8]", "float[1]")
    assert work("_C::static_scaled_fp8_quant", *arguments) == (3 * 32, 32 + 64 + 4)
    assert work("_C::dynamic_scaled_fp8_quant", *arguments) == (5 * 32, 32 + 64 + 4)


def test_a_gated_activation_reads_twice_what_it_writes() -> None:
    assert work("_C::silu_and_mul", f"{BF16}[4,8]", f"{BF16}[4,16]") == (64, 64 + 128)


def test_rotary_embedding_rewrites_the_rotated_half_of_each_head() -> None:
    # 3 tokens, 4 query and 2 key heads of 8, of which 4 are rotated
    arguments = (
        "long int[3]",
        f"{BF16}[3,32]",
        f"{BF16}[3,16]",
        "Scalar",
        f"{BF16}[99,4]",
        "Scalar",
    )
    rotated = 3 * 6 * 4
    assert work("_C::rotary_embedding", *arguments, concrete=("", "", "", "8", "", "True")) == (
        3 * rotated,
        2 * 2 * rotated + 24 + 2 * 12,
    )


def test_pooled_lookup_takes_the_width_from_the_row_states() -> None:
    # 2 tables of width 4 (10 rows in all), 3 bags each, 7 indices
    arguments = ["float[0]", "c10::Half[40]", "c10::Half[0]", "c10::Half[0,0]", "int[2]", "long[2]"]
    arguments += ["int[3]", "Scalar", "Scalar", "long[3]", "Scalar", "long[7]", "long[7]", "Scalar"]
    arguments += ["", "", "int[0]", "Scalar", "Scalar", "Scalar", "float[10]"]
    name = "fbgemm::split_embedding_codegen_lookup_rowwise_adagrad_function"
    assert work(name, *arguments) == (28, 2 * 28 + 56 + 56 + 4 * 3 * 8)


def test_tables_of_different_width_have_no_cost() -> None:
    arguments = ["float[0]", "float[41]", "float[0]", "float[0,0]", "int[2]", "long[2]"]
    arguments += ["int[3]", "Scalar", "Scalar", "long[3]", "Scalar", "long[7]", "long[7]", "Scalar"]
    arguments += ["", "", "int[0]", "Scalar", "Scalar", "Scalar", "float[10]"]
    name = "fbgemm::split_embedding_codegen_lookup_rowwise_adagrad_function"
    assert cost_of(recorded(name, *arguments)) is None
