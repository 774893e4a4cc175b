from __future__ import annotations

import pytest
from operator_calls import recorded, work

from mmprof.analyzers.costs import cost_of

GENERAL = ["ScalarList"] * 3 + ["Scalar", "ScalarList", "Scalar"]


def settings(
    stride: str, padding: str, dilation: str, transposed: str = "False", groups: str = "1"
) -> tuple[str, ...]:
    return ("", "", "", stride, padding, dilation, transposed, "[0]", groups)


def test_a_convolution_meets_every_window_with_every_filter() -> None:
    # 8x8 with padding 1, 3x3 kernel, stride 2: 4x4 outputs
    flops, moved = work(
        "aten::convolution",
        "float[2,3,8,8]",
        "float[5,3,3,3]",
        "",
        *GENERAL,
        concrete=settings("[2, 2]", "[1, 1]", "[1, 1]"),
    )
    assert flops == 2 * (2 * 5 * 4 * 4) * (3 * 3 * 3)
    assert moved == 4 * (2 * 3 * 64 + 5 * 27 + 2 * 5 * 16)


def test_a_bias_adds_one_operation_an_output_element() -> None:
    arguments = ("float[2,3,8,8]", "float[5,3,3,3]", "float[5]")
    flops, _ = work(
        "aten::convolution", *arguments, *GENERAL, concrete=settings("[2]", "[1]", "[1]")
    )
    assert flops == 2 * (2 * 5 * 16) * 27 + 2 * 5 * 16


def test_dilation_widens_the_window() -> None:
    # a 3-wide kernel with dilation 2 reaches 5: 8 - 5 + 1 outputs
    flops, _ = work(
        "aten::convolution",
        "float[1,1,8]",
        "float[1,1,3]",
        "",
        *GENERAL,
        concrete=settings("[1]", "[0]", "[2]"),
    )
    assert flops == 2 * 4 * 3


def test_groups_divide_the_input_channels() -> None:
    flops, _ = work(
        "aten::convolution",
        "float[1,6,8,8]",
        "float[6,1,3,3]",
        "",
        *GENERAL,
        concrete=settings("[1]", "[1]", "[1]", groups="6"),
    )
    assert flops == 2 * (6 * 64) * 9


def test_a_transposed_convolution_spreads_every_input() -> None:
    # (4 - 1)·2 + 3 = 9 outputs an axis, 2 groups of 5 channels
    flops, moved = work(
        "aten::convolution",
        "float[1,6,4,4]",
        "float[6,5,3,3]",
        "",
        *GENERAL,
        concrete=settings("[2]", "[0]", "[1]", "True", "2"),
    )
    assert flops == 2 * (6 * 16) * (5 * 9)
    assert moved == 4 * (6 * 16 + 6 * 5 * 9 + 10 * 81)


@pytest.mark.parametrize(
    ("name", "middle", "concrete"),
    [
        ("aten::cudnn_convolution", 0, ("", "", "[1, 1]", "[2, 2]", "[1, 1]", "1")),
        ("aten::miopen_convolution", 1, ("", "", "", "[1, 1]", "[2, 2]", "[1, 1]", "1")),
        ("aten::mkldnn_convolution", 1, ("", "", "", "[1, 1]", "[2, 2]", "[1, 1]", "1")),
        ("aten::_slow_conv2d_forward", 2, ("", "", "[3, 3]", "", "[2, 2]", "[1, 1]")),
        ("aten::_conv_depthwise2d", 2, ("", "", "[3, 3]", "", "[2, 2]", "[1, 1]", "[1, 1]")),
    ],
)
def test_backends_take_the_same_settings_in_other_places(
    name: str, middle: int, concrete: tuple[str, ...]
) -> None:
    arguments = ["float[2,3,8,8]", "float[5,3,3,3]", *[""] * middle, *["ScalarList"] * 4]
    assert work(name, *arguments, concrete=concrete)[0] == 2 * (2 * 5 * 16) * 27


@pytest.mark.parametrize(
    ("mask", "flops"),
    [
        ("[True, True, False]", 2 * 2 * 160 * 27),
        ("[False, True, True]", 2 * 160 * 27 + 160),
        ("[False, False, False]", 0),
    ],
)
def test_backward_costs_a_forward_pass_for_each_gradient(mask: str, flops: int) -> None:
    arguments = ["float[2,5,4,4]", "float[2,3,8,8]", "float[5,3,3,3]", *["ScalarList"] * 8]
    concrete = ("", "", "", "[5]", "[2]", "[1]", "[1]", "False", "[0]", "1", mask)
    assert work("aten::convolution_backward", *arguments, concrete=concrete)[0] == flops


def test_backward_without_its_mask_has_no_cost() -> None:
    arguments = ["float[2,5,4,4]", "float[2,3,8,8]", "float[5,3,3,3]", *["ScalarList"] * 8]
    assert cost_of(recorded("aten::convolution_backward", *arguments)) is None


@pytest.mark.parametrize(
    "concrete",
    [
        (),
        settings("[0]", "[0]", "[1]"),
        settings("[1, 1, 1]", "[0]", "[1]"),
        settings("same", "[0]", "[1]"),
    ],
)
def test_without_usable_settings_there_is_no_cost(concrete: tuple[str, ...]) -> None:
    arguments = ("float[2,3,8,8]", "float[5,3,3,3]", "", *GENERAL)
    assert cost_of(recorded("aten::convolution", *arguments, concrete=concrete)) is None


def test_a_kernel_larger_than_the_input_has_no_cost() -> None:
    arguments = ("float[1,1,2,2]", "float[1,1,5,5]", "", *GENERAL)
    assert (
        cost_of(recorded("aten::convolution", *arguments, concrete=settings("[1]", "[0]", "[1]")))
        is None
    )
