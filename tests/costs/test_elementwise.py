from __future__ import annotations

import pytest
from operator_calls import BF16, modelled, recorded, work

from mmprof.analyzers.costs import Cost, cost_of


def test_broadcasting_reads_each_operand_once_and_writes_the_whole_result() -> None:
    assert work("aten::add", "float[4,1,3]", "float[5,3]", "Scalar") == (60, 4 * (12 + 15 + 60))


def test_what_does_not_broadcast_has_no_cost() -> None:
    assert cost_of(recorded("aten::add", "float[4]", "float[5]")) is None


@pytest.mark.parametrize(
    ("name", "arguments", "cost"),
    [
        # mixed types compute in the wider one
        ("aten::mul", (f"{BF16}[8]", "float[8]"), Cost(8, 16 + 32 + 32, "float", "elementwise")),
        # a 0-d float does not widen
        ("aten::mul", (f"{BF16}[8]", "float[]"), Cost(8, 16 + 4 + 16, BF16, "elementwise")),
        # comparisons write bool, but compare in the operands' type
        ("aten::gt", ("float[8]", "float[8]"), Cost(8, 64 + 8, "float", "elementwise")),
        # true division and exp leave the integers
        ("aten::div", ("long int[8]", "Scalar"), Cost(8, 64 + 32, "float", "elementwise")),
        ("aten::exp", ("int[8]",), Cost(8, 32 + 32, "float", "elementwise")),
        # in place: the first operand is read and written
        ("aten::add_", (f"{BF16}[8]", "float[8]"), Cost(8, 16 + 32 + 16, "float", "elementwise")),
        # out= names the result's type
        (
            "aten::add",
            ("float[8]", "float[8]", "Scalar", f"{BF16}[0]"),
            Cost(8, 64 + 16, "float", "elementwise"),
        ),
        # a condition has no say in the type
        (
            "aten::where",
            ("bool[8]", f"{BF16}[8]", f"{BF16}[8]"),
            Cost(8, 8 + 48, BF16, "elementwise"),
        ),
        ("aten::addcmul_", ("float[8]",) * 3, Cost(24, 4 * 32, "float", "elementwise")),
        ("aten::pow", ("Scalar", "float[8]"), Cost(8, 64, "float", "elementwise")),
        ("aten::native_dropout", ("float[8]", "Scalar"), Cost(16, 64 + 8, "float", "dropout")),
        ("aten::uniform_", ("float[8]", "Scalar"), Cost(8, 32, "float", "random")),
        ("aten::bernoulli", ("float[8]", ""), Cost(8, 64, "float", "random")),
        ("aten::glu", ("float[8,4]", "Scalar"), Cost(32, 4 * (32 + 16), "float", "elementwise")),
    ],
)
def test_operand_and_result_types(name: str, arguments: tuple[str, ...], cost: Cost) -> None:
    assert modelled(recorded(name, *arguments)) == cost


def test_lists_need_the_element_type_that_kineto_leaves_out() -> None:
    arguments = ("TensorList[[2,3],[4]]", "TensorList[[2,3],[4]]", "Scalar")
    assert cost_of(recorded("aten::_foreach_add_", *arguments)) is None
    assert work("aten::_foreach_add_", *arguments, element_dtype="float") == (10, 3 * 40)


def test_a_list_operator_with_a_scalar_reads_one_list() -> None:
    assert work("aten::_foreach_mul_", "TensorList[[2,3],[4]]", "Scalar", element_dtype=BF16) == (
        10,
        40,
    )


def test_fused_adam_moves_seven_times_the_parameters() -> None:
    lists = ["TensorList[[10],[6]]"] * 4
    flops, moved = work(
        "aten::_fused_adamw_", *lists, "TensorList[]", "TensorList[[],[]]", element_dtype="float"
    )
    assert (flops, moved) == (14 * 16, 7 * 64)


def test_fused_sgd_without_momentum_reads_two_lists_and_writes_one() -> None:
    lists = ["TensorList[[10]]", "TensorList[[10]]", "TensorList[]"]
    assert work("aten::_fused_sgd_", *lists, element_dtype="float") == (60, 3 * 40)


@pytest.mark.parametrize(
    ("name", "lists", "flops", "moved"),
    [
        ("aten::_foreach_copy_", 2, 0, 80),
        ("aten::_foreach_zero_", 1, 0, 40),
        ("aten::_foreach_norm", 1, 20, 40 + 4),
        ("aten::_amp_foreach_non_finite_check_and_unscale_", 1, 10, 80),
    ],
)
def test_other_list_operators(name: str, lists: int, flops: int, moved: int) -> None:
    assert work(name, *["TensorList[[10]]"] * lists, element_dtype="float") == (flops, moved)


def test_a_list_without_shapes_has_no_cost() -> None:
    assert (
        cost_of(recorded("aten::_foreach_add_", "TensorList[]", "Scalar", element_dtype="float"))
        is None
    )
