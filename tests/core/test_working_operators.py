"""Which operators of a CPU-only trace are its activities."""

from __future__ import annotations

from collections.abc import Callable

from fixtures.builder import TraceBuilder
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]


def activities(view: View) -> list[tuple[str, int, int]]:
    first = int(view.activities["start_ns"][0])
    times = view.activities.select("name", "start_ns", "end_ns").iter_rows()
    return [(str(name), start - first, end - first) for name, start, end in times]


def test_an_operator_that_calls_a_library_works_itself(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::conv_transpose1d", 0, 12_000), t.op("aten::_convolution", 1_000, 11_000):
        t.op("aten::empty", 2_000, 3_000)
        with t.op("aten::clone", 8_000, 10_000):
            t.op("aten::copy_", 8_500, 9_500)
    assert activities(view_of(t)) == [("aten::_convolution", 0, 10_000)]


def test_unless_it_leaves_the_work_to_another_operator(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::_convolution", 0, 10_000):
        t.op("aten::copy_", 1_000, 2_000)
        with t.op("aten::mkldnn_convolution", 3_000, 9_000):
            t.op("aten::copy_", 4_000, 5_000)
    assert activities(view_of(t)) == [
        ("aten::copy_", 0, 1_000),
        ("aten::mkldnn_convolution", 2_000, 8_000),
    ]


def test_a_copy_is_all_that_other_operators_do(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::repeat", 0, 10_000):
        t.op("aten::copy_", 4_000, 5_000)
    assert activities(view_of(t)) == [("aten::copy_", 0, 1_000)]
