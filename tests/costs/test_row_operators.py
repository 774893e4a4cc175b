"""Softmax, normalization, reductions, pooling, losses: operators over rows and windows."""

from __future__ import annotations

import pytest
from operator_calls import BF16, recorded, work

from mmprof.analyzers.costs import cost_of

ROWS = f"{BF16}[4,8]"
IMAGE, WEIGHT = "float[2,3,4]", "float[3]"
DIMS = ("ScalarList", "Scalar", "")


@pytest.mark.parametrize(
    ("name", "arguments", "concrete", "flops", "moved"),
    [
        ("aten::_softmax", (ROWS, "Scalar", "Scalar"), ("", "-1", "False"), 5 * 32, 128),
        ("aten::_softmax", ("c10::Half[4,8]", "Scalar", "Scalar"), ("", "-1", "True"), 5 * 32, 192),
        ("aten::softmax", (ROWS, "Scalar", "Scalar"), ("", "-1", "6"), 5 * 32, 192),
        ("aten::_softmax_backward_data", (ROWS, ROWS), (), 4 * 32, 192),
        ("aten::native_layer_norm", (ROWS, "", f"{BF16}[8]", f"{BF16}[8]"), (), 8 * 32, 128 + 32),
        ("aten::native_layer_norm", (ROWS, "", "", ""), (), 6 * 32, 128),
        ("aten::_masked_softmax", ("float[4,8]", "bool[4,8]"), (), 6 * 32, 128 + 32 + 128),
        ("aten::native_group_norm", (IMAGE, WEIGHT, WEIGHT), (), 8 * 24, 192 + 24),
        ("aten::group_norm", (IMAGE, "Scalar", WEIGHT, WEIGHT), (), 8 * 24, 192 + 24),
        ("aten::batch_norm_elemt", (IMAGE, *[WEIGHT] * 4), (), 4 * 24, 192 + 48),
        ("aten::_batch_norm_with_update", (IMAGE, *[WEIGHT] * 4), (), 8 * 24, 192 + 48),
        ("aten::batch_norm_stats", (IMAGE, "Scalar"), (), 4 * 24, 96),
        ("vllm::rocm_aiter_rms_norm", (ROWS, f"{BF16}[8]", "Scalar"), (), 4 * 32, 128 + 16),
        (
            "_C::fused_add_rms_norm_static_fp8_quant",
            ("c10::Float8_e4m3fn[4,8]", ROWS, ROWS, f"{BF16}[8]", "float[1]"),
            (),
            6 * 32,
            32 + 64 + 2 * 64 + 16 + 4,
        ),
        ("aten::_fused_rms_norm", (ROWS, "", f"{BF16}[8]"), (), 4 * 32, 128 + 16),
        (
            "aten::_fused_rms_norm_backward",
            (ROWS, ROWS, "", "float[4,1]", f"{BF16}[8]"),
            (),
            9 * 32,
            3 * 64 + 16 + 2 * 16,
        ),
        (
            "aten::native_batch_norm",
            ("float[2,3,4]", "float[3]", "float[3]", "float[3]", "float[3]", "Scalar"),
            ("",) * 5 + ("False",),
            4 * 24,
            192 + 48,
        ),
        (
            "aten::cudnn_batch_norm_backward",
            ("float[2,3,4]", "float[2,3,4]", "float[3]"),
            (),
            13 * 24,
            3 * 96 + 3 * 12,
        ),
        ("_C::rms_norm", (ROWS, ROWS, f"{BF16}[8]", "Scalar"), (), 4 * 32, 128 + 16),
        ("_C::fused_add_rms_norm", (ROWS, ROWS, f"{BF16}[8]", "Scalar"), (), 5 * 32, 256 + 16),
        ("aiter::rmsnorm2d_fwd_with_add_ck", (ROWS,) * 4 + (f"{BF16}[8]",), (), 5 * 32, 256 + 16),
        (
            "vllm::rocm_aiter_rmsnorm2d_fwd_with_add",
            (ROWS, ROWS, f"{BF16}[8]"),
            (),
            5 * 32,
            256 + 16,
        ),
    ],
)
def test_softmax_and_normalization(
    name: str, arguments: tuple[str, ...], concrete: tuple[str, ...], flops: int, moved: int
) -> None:
    assert work(name, *arguments, concrete=concrete) == (flops, moved)


@pytest.mark.parametrize(
    ("name", "arguments", "concrete", "flops", "moved"),
    [
        ("aten::sum", ("float[4,8]", *DIMS), ("", "[0]", "True", ""), 32, 128 + 32),
        ("aten::sum", ("float[4,8]", ""), ("", ""), 32, 128 + 4),
        ("aten::sum", ("int[4,8]", *DIMS), ("", "[-1]", "False", ""), 32, 128 + 32),
        ("aten::sum", (ROWS, "Scalar"), ("", "6"), 32, 64 + 4),
        ("aten::mean", ("float[4,8]", "", "", "", "float[]"), ("", "[]", "False", "", ""), 32, 132),
        ("aten::argmax", ("int[4,8]", "Scalar", "Scalar"), ("", "-1", "False"), 32, 128 + 32),
        ("aten::max", ("float[4,8]", "Scalar", "Scalar"), ("", "1", "False"), 32, 128 + 16 + 32),
        ("aten::max", ("float[4,8]", "float[8]"), (), 32, 128 + 32 + 128),
        ("aten::all", ("bool[4,8]",), ("",), 32, 33),
        ("aten::var_mean", ("float[4,8]", "ScalarList"), ("", "[1]", "1", "True"), 128, 128 + 32),
        ("aten::linalg_vector_norm", (ROWS,), ("", "2", "[-1]", "True", ""), 64, 64 + 8),
        ("aten::cumsum", ("int[4,8]", "Scalar"), ("", "1", ""), 32, 128 + 256),
        ("aten::cumsum", ("", "long[300]", "Scalar", ""), (), 300, 4800),
        ("aten::topk", ("float[4,8]", "Scalar"), ("", "2", "-1", "True", "True"), 32, 128 + 8 * 12),
        ("aten::sort", ("float[4,8]", "Scalar"), ("", "-1", "False"), 32 * 3, 128 + 32 * 12),
        (
            "aten::max_pool2d_with_indices",
            ("float[1,2,8,8]",),
            ("", "[3, 3]", "[2, 2]", "[1, 1]", "[1, 1]", "False"),
            2 * 16 * 9,
            4 * 128 + 12 * 32,
        ),
        (
            "aten::avg_pool2d",
            ("float[1,2,5,5]",),
            ("", "[2, 2]", "[]", "[0, 0]", "True"),
            2 * 9 * 4,
            4 * (50 + 18),
        ),
        (
            "aten::max_pool2d_with_indices_backward",
            ("float[1,2,4,4]", "float[1,2,8,8]", *["ScalarList"] * 5, "long int[1,2,4,4]"),
            (),
            32,
            128 + 256 + 512,
        ),
        (
            "aten::avg_pool2d_backward",
            ("float[1,2,4,4]", "float[1,2,8,8]"),
            ("", "", "[2, 2]"),
            32 * 4,
            128 + 512,
        ),
        ("aten::_adaptive_avg_pool2d_backward", ("float[1,2,1,1]", "float[1,2,6,6]"), (), 72, 296),
        ("aten::cummax", ("float[4,8]", "Scalar"), ("", "1"), 32, 128 + 32 * 12),
        ("aten::argsort", ("float[4,8]", "Scalar"), ("", "1"), 32 * 3, 128 + 256),
        ("aten::topk", ("float[]", "Scalar"), ("", "1"), 1, 4 + 12),
        ("aten::mse_loss_backward", ("float[]", "float[4,8]", "float[4,8]"), (), 96, 4 + 3 * 128),
        ("aten::cross_entropy_loss", ("float[4,8]", "long[4]"), ("",) * 3 + ("1",), 168, 128 + 36),
        ("aten::_adaptive_avg_pool2d", ("float[1,2,6,6]",), ("", "[1, 1]"), 72, 4 * (72 + 2)),
        ("aten::mse_loss", ("float[4,8]",) * 2, ("", "", "1"), 3 * 32, 2 * 128 + 4),
        ("aten::mse_loss", ("float[4,8]",) * 2, ("", "", "0"), 2 * 32, 3 * 128),
        ("aten::nll_loss_forward", ("float[4,8]", "long[4]"), ("", "", "", "1"), 8, 16 + 32 + 4),
        ("aten::nll_loss_backward", ("float[]", "float[4,8]", "long[4]"), (), 4, 4 + 32 + 128),
    ],
)
def test_reductions_pooling_and_losses(
    name: str, arguments: tuple[str, ...], concrete: tuple[str, ...], flops: int, moved: int
) -> None:
    assert work(name, *arguments, concrete=concrete) == (flops, moved)


@pytest.mark.parametrize(
    ("name", "arguments", "concrete"),
    [
        ("aten::sum", ("float[4,8]", "", "Scalar", ""), ()),  # dimensions not recorded
        ("aten::sum", ("float[4,8]", *DIMS), ("", "[5]", "False", "")),
        ("aten::topk", ("float[4,8]", "Scalar"), ("", "9", "-1")),
        ("aten::mse_loss", ("float[4,8]",) * 2, ()),
        ("aten::nonzero", ("bool[8]",), ("",)),  # its result depends on the data
    ],
)
def test_an_unknown_result_has_no_cost(
    name: str, arguments: tuple[str, ...], concrete: tuple[str, ...]
) -> None:
    assert cost_of(recorded(name, *arguments, concrete=concrete)) is None
