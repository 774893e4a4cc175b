from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM, cpu_nested
from mmprof.analyzers.analyses.operators import OperatorRow, Operators, operators
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]


def _row(result: Operators, name: str) -> OperatorRow:
    return next(row for row in result.ops if row.name == name)


def _linear(t: TraceBuilder, at: int) -> None:
    """aten::linear [0, 10) µs around aten::addmm [2, 8) µs, which launches a fill of 1 µs and a kernel of 4 µs."""
    shapes = [[8], [4, 16], [16, 8]]
    with t.op("aten::linear", at, at + 10_000):
        t.op("aten::t", at + 500, at + 1_500)
        with t.op("aten::addmm", at + 2_000, at + 8_000, dims=shapes, types=["float"] * 3):
            t.memset(at=at + 3_000, call_ns=500, fill=(at + 10_000, at + 11_000), nbytes=4)
            t.launch(GEMM, at=at + 5_000, call_ns=500, kernel=(at + 12_000, at + 16_000))


def test_time_is_of_the_innermost_operator_and_total_of_all_around(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _linear(t, 0)
    _linear(t, 20_000)
    result = operators(view_of(t))
    addmm, linear = _row(result, "aten::addmm"), _row(result, "aten::linear")
    assert (addmm.count, addmm.kernels, addmm.time_ns, addmm.total_time_ns) == (
        2,
        4,
        10_000,
        10_000,
    )
    assert (linear.count, linear.kernels, linear.time_ns, linear.total_time_ns) == (0, 0, 0, 10_000)
    assert (addmm.class_, linear.class_) == ("linear", "linear")
    assert result.operator_coverage == 1.0


def test_host_time_is_split_between_an_operator_and_those_inside(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _linear(t, 0)
    result = operators(view_of(t))
    addmm, linear = _row(result, "aten::addmm"), _row(result, "aten::linear")
    assert (addmm.host_calls, addmm.host_self_ns, addmm.host_total_ns) == (1, 6_000, 6_000)
    # 10 less aten::t (1) and aten::addmm (6)
    assert (linear.host_calls, linear.host_self_ns, linear.host_total_ns) == (1, 3_000, 10_000)
    assert [(r.name, r.host_calls, r.host_self_ns) for r in result.host_ops] == [
        ("aten::t", 1, 1_000)
    ]


def test_an_operator_nested_in_itself_counts_an_activity_once(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::to", 0, 10_000), t.op("aten::to", 1_000, 9_000):
        t.launch(ADD, at=2_000, call_ns=500, kernel=(20_000, 25_000))
    row = _row(operators(view_of(t)), "aten::to")
    assert (row.count, row.time_ns, row.total_time_ns) == (1, 5_000, 5_000)
    assert (row.host_calls, row.host_self_ns, row.host_total_ns) == (2, 10_000, 10_000)


def test_activities_without_operator_keep_a_row_so_that_times_sum_to_busy(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 2_000):
        t.launch(GEMM, at=500, call_ns=500, kernel=(3_000, 6_000))
    t.launch(ADD, at=2_500, call_ns=500, kernel=(6_000, 7_000))
    view = view_of(t)
    result = operators(view)
    outside = _row(result, "")
    assert (outside.count, outside.kernels, outside.time_ns, outside.host_calls) == (0, 1, 1_000, 0)
    assert sum(row.time_ns for row in result.ops) == view.busy_ns == 4_000
    assert result.operator_coverage == 0.75


def test_classes_are_by_own_time_of_the_operator(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::addmm", 0, 2_000):
        t.memset(at=100, call_ns=100, fill=(3_000, 4_000), nbytes=4)
        t.launch(GEMM, at=500, call_ns=100, kernel=(4_000, 9_000))
    assert _row(operators(view_of(t)), "aten::addmm").class_ == "linear"


def test_shapes_are_one_line_and_their_times_sum_to_busy(view_of: ViewOf) -> None:
    t = TraceBuilder()
    bf16 = ["c10::BFloat16", "c10::BFloat16"]
    for at, rows in ((0, 4), (10_000, 8), (20_000, 4)):
        with t.op("aten::mm", at, at + 5_000, dims=[[rows, 16], [16, 2]], types=bf16):
            t.launch(GEMM, at=at + 1_000, call_ns=500, kernel=(at + 6_000, at + 8_000))
    t.launch(ADD, at=30_000, call_ns=500, kernel=(31_000, 32_000))
    view = view_of(t)
    rows_ = operators(view).op_shapes
    types = '["c10::BFloat16","c10::BFloat16"]'
    assert [(r.name, r.dims, r.types, r.count, r.kernels, r.time_ns) for r in rows_] == [
        ("aten::mm", "[[4,16],[16,2]]", types, 2, 2, 4_000),
        ("aten::mm", "[[8,16],[16,2]]", types, 1, 1, 2_000),
        ("", "", "", 0, 1, 1_000),
    ]
    assert sum(r.time_ns for r in rows_) == view.busy_ns


def test_flops_and_bytes_are_the_sums_of_the_instances(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for at in (0, 10_000):
        with t.op("aten::mm", at, at + 5_000, dims=[[4, 16], [16, 2]], types=["float", "float"]):
            t.launch(GEMM, at=at + 1_000, call_ns=500, kernel=(at + 6_000, at + 8_000))
    row = _row(operators(view_of(t)), "aten::mm")
    assert row.flops == 2 * (2 * 4 * 16 * 2)
    assert row.bytes == 2 * 4 * (4 * 16 + 16 * 2 + 4 * 2)
    assert row.bound != "unknown"


def test_spans_select_host_operators_by_their_start(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _linear(t, 0)
    _linear(t, 20_000)
    view = view_of(t)
    start = int(view.trace.host["start_ns"].min())  # type: ignore[arg-type]
    second = pl.DataFrame({"start_ns": [start + 20_000], "end_ns": [start + 40_000]})
    result = operators(replace(view, spans=second))
    assert _row(result, "aten::linear").host_calls == 1
    assert _row(result, "aten::addmm").time_ns == 5_000


def test_working_operators_are_the_activities_of_a_host_trace(view_of: ViewOf) -> None:
    built, expected = cpu_nested()
    result = operators(view_of(built))
    assert sum(row.time_ns for row in result.ops) == expected["busy_ns"]
    assert _row(result, "aten::addmm").time_ns == 18_000
    assert _row(result, "aten::linear").total_time_ns == 18_000


@pytest.mark.parametrize(
    "path",
    [
        "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
        "tracelens/inference/vllm_decode_full/graph_execution.json.gz",
        "tracelens/mi210/gpu_only_trace/gpu_only_trace.json.gz",
        "hta/negative_queue_length_values_check/rank0.json.gz",
        "hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz",
        "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
    ],
)
def test_real_traces_add_up(shared_traces: Path, path: str) -> None:
    view = next(views(load(shared_traces / path), Options()))
    result = operators(view)
    assert sum(row.time_ns for row in result.ops) == view.busy_ns
    assert sum(row.time_ns for row in result.op_shapes) == view.busy_ns
    assert sum(row.kernels for row in result.ops) == len(view.activities)
    assert all(row.time_ns <= row.total_time_ns <= view.busy_ns for row in result.ops)
    assert all(0 <= row.host_self_ns <= row.host_total_ns for row in result.ops)
