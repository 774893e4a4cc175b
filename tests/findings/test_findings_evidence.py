"""Where the largest part of a finding comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD
from mmprof.analyzers.findings import evidence, products

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmprof.analyzers.view import View

    ViewOf = Callable[[TraceBuilder], View]


def framed() -> TraceBuilder:
    """Kernels of two layers of one class (3 us each), of a line of user code (5 us) and of no operator (1 us)."""
    t = TraceBuilder()
    for layer in (0, 1):
        at = 10_000 * layer
        with t.module(f"Mlp_{layer}", at, at + 4_000), t.op("aten::add", at, at + 3_000):
            t.launch(ADD, at=at + 1_000, call_ns=500, kernel=(at + 3_000, at + 6_000))
    with t.python("model.py(7): forward", 20_000, 24_000), t.op("aten::mul", 20_000, 23_000):
        t.launch(ADD, at=21_000, call_ns=500, kernel=(23_000, 28_000))
    t.launch(ADD, at=30_000, call_ns=500, kernel=(33_000, 34_000))
    return t


def test_instances_of_a_module_are_one_place(view_of: ViewOf) -> None:
    view = view_of(framed())
    place = evidence.main_place(view, view.activities["launch"], view.activities["own_ns"])
    assert place == "aten::add in Mlp"  # 6 us; the line of user code has 5 us


def test_user_code_names_the_place_before_modules(view_of: ViewOf) -> None:
    view = view_of(framed())
    rows = view.activities.filter(pl.col("operator_name") == "aten::mul")
    assert evidence.main_place(view, rows["launch"], rows["own_ns"]) == (
        "aten::mul at model.py:7 forward"
    )


def test_without_operator_the_call_is_the_place(view_of: ViewOf) -> None:
    view = view_of(framed())
    last = view.activities.tail(1)
    assert evidence.main_place(view, last["launch"], last["own_ns"]) == "cudaLaunchKernel"


def test_no_launch_has_no_place(view_of: ViewOf) -> None:
    view = view_of(framed())
    nothing = pl.Series([None], dtype=pl.UInt32)
    assert evidence.main_place(view, nothing, pl.Series([1])) == ""


def test_products_know_their_extents() -> None:
    arguments = {
        "dims": "[[2, 3, 5], [7, 5], []]",
        "types": '["c10::Half", "c10::Half", ""]',
        "strides": "[[15, 5, 1], [5, 1], []]",
    }
    # aten::linear: 2 x 3 rows of 5, times a weight of 7 x 5 that is stored transposed
    assert products.extents("aten::linear", arguments) == products.Extents(
        batch=1, m=6, n=7, k=5, first_bytes=60, second_bytes=70, result_bytes=84, stored=[5, 5, 7]
    )


def test_what_is_no_plain_product_has_no_extents() -> None:
    arguments = {"dims": "[[3], [3]]", "types": '["float", "float"]', "strides": ""}
    assert products.extents("aten::dot", arguments) is None
    assert products.extents("aten::mm", arguments) is None
    assert products.extents("aten::mm", {"dims": "", "types": "", "strides": ""}) is None
