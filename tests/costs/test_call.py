from __future__ import annotations

import pytest
from operator_calls import BF16, modelled, recorded

from mmprof.analyzers.costs import (
    VIEW_MODEL,
    Cost,
    OperatorCall,
    Tensor,
    cost_model,
    cost_of,
    modelled_operators,
    parse_call,
)
from mmprof.analyzers.costs.call import UnderivableError


def test_arguments_are_read_as_kineto_writes_them() -> None:
    call = parse_call(
        "aten::cat",
        "[[[2, 3], [4, 3]], [], [5]]",
        '["TensorList", "Scalar", "float"]',
        "[[[3, 1], [3, 1]], [], [1]]",
        '["", "1", ""]',
        {"element_dtype": "float"},
    )
    assert call == OperatorCall(
        name="aten::cat",
        dims=(((2, 3), (4, 3)), (), (5,)),
        types=("TensorList", "Scalar", "float"),
        strides=(((3, 1), (3, 1)), (), (1,)),
        concrete=("", "1", ""),
        extra={"element_dtype": "float"},
    )


@pytest.mark.parametrize(
    "text", ["", "nonsense", "null", "7", "{}", '"[[1]]"', "[[1, 2]", "[" * 100_000]
)
def test_unreadable_text_gives_no_arguments(text: str) -> None:
    assert parse_call("aten::mm", text, text, text, text) == OperatorCall("aten::mm", (), ())


@pytest.mark.parametrize(
    "dims",
    [
        "[null, [3, 4]]",
        '[["a", 3], [3, 4]]',
        "[[2.5, 3], [3, 4]]",
        "[[true, 3], [3, 4]]",
        "[[-2, 3], [3, 4]]",
        "[[[2], [3, []]], [3, 4]]",
        "[[9223372036854775808, 3], [3, 4]]",
        f"[{[1] * 65}, [3, 4]]",
        "[[2, 3]]",
        "[]",
    ],
)
def test_an_impossible_shape_has_no_cost(dims: str) -> None:
    assert cost_of(parse_call("aten::mm", dims, '["float", "float"]')) is None


def test_a_result_beyond_64_bits_has_no_cost() -> None:
    side = f"float[{2**31},{2**31}]"
    assert cost_of(recorded("aten::mm", side, side)) is None


def test_an_unknown_operator_has_no_cost() -> None:
    assert cost_of(recorded("my::op", "float[2]")) is None


def test_a_scalar_argument_is_not_a_tensor_but_a_0d_tensor_is() -> None:
    assert modelled(recorded("aten::mul", "float[4]", "Scalar")).bytes == 2 * 16
    assert modelled(recorded("aten::mul", "float[4]", "float[]")).bytes == 2 * 16 + 4


def test_old_scalar_kinds_are_tensors_only_with_dimensions() -> None:
    assert modelled(recorded("aten::clamp_min", "float[4]", "Int", "float[4]")).bytes == 32
    assert modelled(recorded("aten::neg", "Int[4]")).bytes == 32


def test_a_dimension_of_stride_0_is_stored_once() -> None:
    expanded = recorded(
        "aten::add", f"{BF16}[8,1024]", f"{BF16}[8,1024]", strides=[[1024, 1], [0, 1]]
    )
    assert modelled(expanded).bytes == 2 * (8 * 1024 + 1024 + 8 * 1024)


def test_two_models_for_an_operator_are_refused() -> None:
    modelled_operators()

    def other(_call: OperatorCall) -> Cost:
        return Cost(0, 0, "", "other")

    with pytest.raises(ValueError, match="two cost models for aten::mm"):
        cost_model("aten::mm")(other)


def test_a_view_is_marked_as_doing_nothing_itself() -> None:
    assert modelled(recorded("aten::t", "float[2,3]")) == Cost(0, 0, "", VIEW_MODEL)


def test_the_operators_are_listed_once_and_sorted() -> None:
    names = modelled_operators()
    assert names == tuple(sorted(set(names)))
    assert {"aten::mm", "aten::_softmax", "triton_poi_*", "_C::rms_norm"} <= set(names)


def test_a_tensor_of_unknown_type_has_no_size() -> None:
    with pytest.raises(UnderivableError, match="no element size for 'Scalar'"):
        _ = Tensor((2, 3), "Scalar").bytes
