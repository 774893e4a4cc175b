from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM
from mmprof.analyzers.analyses.modules import ModuleRow, Modules, modules
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]
BACKWARD_THREAD = 77


def _row(result: Modules, module: str) -> ModuleRow:
    return next(row for row in result.modules if row.module == module)


def test_time_is_of_the_innermost_module_and_total_of_all_around(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.module("Model_0", 0, 20_000):
        t.launch(ADD, at=1_000, call_ns=500, kernel=(2_000, 3_000))
        with t.module("Linear_0", 5_000, 9_000):
            t.launch(GEMM, at=6_000, call_ns=500, kernel=(7_000, 11_000))
        with t.module("Linear_1", 10_000, 14_000):
            t.launch(GEMM, at=11_000, call_ns=500, kernel=(12_000, 14_000))
    t.launch(ADD, at=21_000, call_ns=500, kernel=(22_000, 23_000))
    view = view_of(t)
    result = modules(view)
    assert [(r.module, r.depth, r.count, r.time_ns, r.total_time_ns) for r in result.modules] == [
        ("Model_0", 1, 1, 1_000, 7_000),
        ("Model_0.Linear_0", 2, 1, 4_000, 4_000),
        ("Model_0.Linear_1", 2, 1, 2_000, 2_000),
        ("", 0, 1, 1_000, 1_000),
    ]
    assert sum(r.time_ns for r in result.modules) == view.busy_ns == 8_000
    assert result.module_coverage == 7 / 8


def test_annotations_named_like_parameters_are_modules(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.annotation("model", 0, 20_000), t.annotation("model.layers.3", 1_000, 10_000):
        with t.annotation("model.layers.3.mlp", 2_000, 5_000):
            t.launch(GEMM, at=3_000, call_ns=500, kernel=(4_000, 8_000))
        with t.annotation("load.data", 6_000, 9_000):
            t.launch(ADD, at=7_000, call_ns=500, kernel=(8_000, 9_000))
    result = modules(view_of(t))
    assert [(r.module, r.depth, r.time_ns, r.total_time_ns) for r in result.modules] == [
        ("model", 1, 0, 5_000),
        ("model.layers.3", 2, 1_000, 5_000),
        ("model.layers.3.mlp", 3, 4_000, 4_000),
    ]


@pytest.mark.parametrize("name", ["DistributedDataParallel.forward", "decode", "a.b c.1"])
def test_other_annotations_are_not_modules(view_of: ViewOf, name: str) -> None:
    t = TraceBuilder()
    with t.annotation(name, 0, 5_000):
        t.launch(GEMM, at=1_000, call_ns=500, kernel=(2_000, 4_000))
    result = modules(view_of(t))
    assert [r.module for r in result.modules] == [""]
    assert result.module_coverage == 0.0


def _forward(t: TraceBuilder, *, sequence: int) -> None:
    """Two linear modules: each records aten::linear and, later and inside, aten::addmm with the same number."""
    for number, at in ((0, 0), (1, 10_000)):
        args = {"Sequence number": sequence + number, "Fwd thread id": 0}
        with (
            t.module(f"Linear_{number}", at, at + 8_000),
            t.op("aten::linear", at + 500, at + 7_000, args=args),
            t.op("aten::addmm", at + 1_000, at + 6_000, args=args),
        ):
            t.launch(GEMM, at=at + 2_000, call_ns=500, kernel=(at + 3_000, at + 5_000))


def _backward(t: TraceBuilder, *, at: int, sequence: int, kernel_ns: int) -> None:
    args = {"Sequence number": sequence, "Fwd thread id": 1}
    evaluate = "autograd::engine::evaluate_function: AddmmBackward0"
    with (
        t.thread(BACKWARD_THREAD),
        t.op(evaluate, at, at + 5_000, args=args),
        t.op("AddmmBackward0", at + 500, at + 4_000, args=args),
        t.op("aten::mm", at + 1_000, at + 3_000),
    ):
        t.launch(GEMM, at=at + 1_500, call_ns=500, kernel=(at + 3_000, at + 3_000 + kernel_ns))


def test_backward_belongs_to_the_module_of_its_forward_operator(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _forward(t, sequence=40)
    _backward(t, at=30_000, sequence=41, kernel_ns=5_000)
    _backward(t, at=40_000, sequence=40, kernel_ns=3_000)
    _backward(t, at=50_000, sequence=99, kernel_ns=1_000)  # its forward is not in the trace
    view = view_of(t)
    result = modules(view)
    assert [(r.module, r.count, r.time_ns, r.backward_ns) for r in result.modules] == [
        ("Linear_1", 2, 7_000, 5_000),
        ("Linear_0", 2, 5_000, 3_000),
        ("", 1, 1_000, 0),
    ]
    assert sum(r.time_ns for r in result.modules) == view.busy_ns


def test_the_forward_operator_is_the_last_to_start_before_the_backward(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _forward(t, sequence=40)
    _backward(t, at=30_000, sequence=41, kernel_ns=5_000)
    # The next operator after the backward may carry the next free number again.
    with (
        t.module("Embedding_0", 40_000, 45_000),
        t.op("aten::detach", 41_000, 42_000, args={"Sequence number": 41, "Fwd thread id": 0}),
    ):
        t.launch(ADD, at=41_200, call_ns=100, kernel=(43_000, 44_000))
    result = modules(view_of(t))
    assert _row(result, "Linear_1").backward_ns == 5_000
    assert _row(result, "Embedding_0").backward_ns == 0


def test_equal_numbers_of_another_thread_are_not_its_forward(view_of: ViewOf) -> None:
    t = TraceBuilder()
    _forward(t, sequence=40)
    with (
        t.thread(55),
        t.module("Other_0", 25_000, 28_000),
        t.op("aten::add", 26_000, 27_000, args={"Sequence number": 41, "Fwd thread id": 0}),
    ):
        t.launch(ADD, at=26_200, call_ns=100, kernel=(27_000, 28_000))
    _backward(t, at=30_000, sequence=41, kernel_ns=5_000)
    _backward(t, at=40_000, sequence=40, kernel_ns=3_000)
    assert _row(modules(view_of(t)), "Linear_1").backward_ns == 5_000


def test_normalization_layers_get_their_backward(shared_traces: Path) -> None:
    path = "tracelens/perf_model/normalization/normalization_layer_test.json.gz"
    view = next(views(load(shared_traces / path), Options()))
    result = modules(view)
    assert sum(r.time_ns for r in result.modules) == view.busy_ns
    assert result.module_coverage > 0.9
    layers = [r for r in result.modules if r.depth == 2]
    assert len(layers) == 10
    assert all(0 < r.backward_ns < r.time_ns for r in layers if "InstanceNorm" not in r.module)


@pytest.mark.parametrize(
    "path",
    [
        "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
        "tracelens/inference/vllm_decode_full/graph_execution.json.gz",
        "hta/negative_queue_length_values_check/rank0.json.gz",
    ],
)
def test_real_traces_add_up(shared_traces: Path, path: str) -> None:
    view = next(views(load(shared_traces / path), Options()))
    result = modules(view)
    assert sum(r.time_ns for r in result.modules) == view.busy_ns
    assert sum(r.count for r in result.modules) == len(view.activities)
    assert sum(r.total_time_ns for r in result.modules if r.depth <= 1) == view.busy_ns
