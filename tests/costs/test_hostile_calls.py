"""Whatever a trace holds, a cost is a pair of 64-bit numbers or None."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from mmprof.analyzers.costs import cost_of, modelled_operators, parse_call

EXTENTS = st.sampled_from([0, 1, 2, 3, 4, 8, 64, 4096, -1, 2**31, 2**62, 2**63, 10**40])
SHAPES = st.lists(EXTENTS, max_size=5)
NESTED = st.lists(SHAPES, max_size=3)
RUBBISH: st.SearchStrategy[object] = st.sampled_from(
    [None, "x", [1, "a"], [[1, [2]]], [1.5], {}, True]
)
DIMS = SHAPES | NESTED | RUBBISH
TYPES = st.sampled_from(
    [
        "float",
        "c10::BFloat16",
        "long int",
        "int",
        "bool",
        "Int",
        "Scalar",
        "ScalarList",
        "TensorList",
        "",
        "GenericList",
        "c10::Float4_e2m1fn_x2",
        "OpaqueType<99>",
    ]
)
VALUES = st.sampled_from(
    [
        "",
        "True",
        "False",
        "0",
        "1",
        "2",
        "-1",
        "1e308",
        "nan",
        "9" * 5000,
        "[]",
        "[1, 1]",
        "[3]",
        "[-1, 2]",
        "[0]",
        "[True, True, False]",
        "[1.5]",
        "['x']",
        "15",
        "99",
    ]
)
NAMES = st.sampled_from(modelled_operators()).map(lambda name: name.replace("*", "fused_add_mm_0"))


@st.composite
def arguments(draw: st.DrawFn) -> tuple[list[object], list[str]]:
    """Often the same shape in many places, because operands that match reach the formulas."""
    count = draw(st.integers(0, 30))
    shared = draw(SHAPES)
    dims = draw(st.lists(st.just(shared) | DIMS, min_size=count, max_size=count))
    return list(dims), draw(st.lists(TYPES, min_size=count, max_size=count + 2))


@settings(max_examples=1000, deadline=None)
@given(NAMES, arguments(), st.lists(DIMS, max_size=8), st.lists(VALUES, max_size=30), TYPES)
def test_no_call_raises_or_overflows(
    name: str,
    dims_and_types: tuple[list[object], list[str]],
    strides: list[object],
    concrete: list[str],
    element_dtype: str,
) -> None:
    dims, types = dims_and_types
    a, b, c, d = (json.dumps(part) for part in (dims, types, strides, concrete))
    cost = cost_of(parse_call(name, a, b, c, d, {"element_dtype": element_dtype}))
    if cost is not None:
        assert 0 <= cost.flops < 2**63
        assert 0 <= cost.bytes < 2**63
        assert cost.model


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_text_parses(dims: str, types: str, concrete: str) -> None:
    call = parse_call("aten::mm", dims, types, dims, concrete)
    assert cost_of(call) is None or call.dims
