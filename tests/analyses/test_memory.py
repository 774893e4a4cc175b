from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.analyses.memory import Memory, MemoryOperatorRow, MemoryRow, memory
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load


def allocations() -> TraceBuilder:
    """100 bytes stay, 300 live from 2,100 to 4,000, 50 from 5,000 on."""
    t = TraceBuilder()
    t.allocate(100, at=500)
    with t.op("aten::linear", 1_000, 3_000), t.op("aten::empty", 2_000, 2_500):
        scratch = t.allocate(300, at=2_100)
    t.launch(GEMM, at=3_200, call_ns=100, kernel=(3_400, 3_500))
    t.free(scratch, at=4_000)
    with t.op("aten::add", 4_500, 6_000):
        t.op("aten::resize_", 4_600, 4_700)
        t.allocate(50, at=5_000)
    return t


def test_peak_growth_and_counts(tmp_path) -> None:
    trace = load(allocations().write(tmp_path / "t.json"))
    (row,) = memory(next(views(trace, Options()))).memory
    peak_at = trace.memory["start_ns"][1]
    assert row == MemoryRow("cuda", 0, True, 0, 150, 150, 400, peak_at, 3, 1, 450)


def test_bytes_go_to_the_innermost_operator(view_of) -> None:
    assert memory(view_of(allocations())).memory_operators == [
        MemoryOperatorRow("aten::empty", "cuda", 1, 0, 300, 300),
        MemoryOperatorRow("", "cuda", 1, 1, 100, -200),
        MemoryOperatorRow("aten::add", "cuda", 1, 0, 50, 50),
    ]


def test_an_operator_without_length_holds_nothing(view_of) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=100, kernel=(200, 300))
    with t.op("aten::cat", 1_000, 3_000):
        t.op("aten::empty", 1_500, 1_500)
        t.allocate(10, at=2_000)
    assert [row.operator for row in memory(view_of(t)).memory_operators] == ["aten::cat"]


def test_threads_have_operators_of_their_own(view_of) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=100, kernel=(200, 300))
    t.op("aten::mm", 1_000, 9_000)
    with t.thread(77):
        t.op("MulBackward0", 2_000, 3_000)
        t.allocate(8, at=2_500)
    t.allocate(16, at=2_500)
    by_operator = {row.operator: row.net_bytes for row in memory(view_of(t)).memory_operators}
    assert by_operator == {"MulBackward0": 8, "aten::mm": 16}


def without_totals(t: TraceBuilder) -> TraceBuilder:
    for event in t.records:
        event.args.pop("Total Allocated", None)
    return t


def test_totals_are_rebuilt_where_the_trace_has_none(view_of) -> None:
    (row,) = memory(view_of(without_totals(allocations()))).memory
    assert not row.totals_recorded
    assert (row.first_bytes, row.last_bytes, row.peak_bytes) == (0, 150, 400)


def test_what_was_allocated_before_counts_where_totals_are_recorded(view_of) -> None:
    t = allocations()
    for event in t.records:
        if event.name == "[memory]":
            event.args["Total Allocated"] = int(event.args["Total Allocated"]) + 1_000
    (row,) = memory(view_of(t)).memory
    assert (row.first_bytes, row.last_bytes, row.growth_bytes, row.peak_bytes) == (
        1_000,
        1_150,
        150,
        1_400,
    )


def test_a_peak_before_the_first_event_is_the_peak(view_of) -> None:
    t = TraceBuilder()
    address = t.allocate(100, at=0)
    t.free(address, at=500)
    t.launch(GEMM, at=600, call_ns=100, kernel=(800, 900))
    t.records.pop(0)
    (row,) = memory(view_of(t)).memory
    assert (row.first_bytes, row.peak_bytes, row.last_bytes) == (100, 100, 0)


def test_host_memory_comes_last_and_with_one_device_only(tmp_path) -> None:
    t = TraceBuilder()
    for device in (0, 1):
        with t.device(device):
            t.launch(GEMM, at=100 * device, call_ns=50, kernel=(1_000, 2_000))
            t.allocate(64, at=10 + 100 * device)
    on_host = t.allocate(8, at=300)
    assert on_host
    t.records[-1].args.update({"Device Type": 0, "Device Id": -1})
    trace = load(t.write(tmp_path / "t.json"))
    found = [
        [(row.device_type, row.device_index) for row in memory(view).memory]
        for view in views(trace, Options())
    ]
    assert found == [[("cuda", 0), ("cpu", -1)], [("cuda", 1)]]


def test_one_device_owns_all_device_memory_whatever_its_number(view_of) -> None:
    """HIP_VISIBLE_DEVICES=2: torch's device 0 is the driver's device 2."""
    t = TraceBuilder("rocm")
    with t.device(2):
        t.launch(GEMM, at=0, call_ns=50, kernel=(1_000, 2_000))
    t.allocate(64, at=10)
    t.records[-1].args["Device Type"] = 6
    assert [(row.device_type, row.device_index) for row in memory(view_of(t)).memory] == [
        ("hip", 0)
    ]


def test_a_window_follows_the_memory_of_its_own_time(tmp_path) -> None:
    t = allocations()
    t.annotation("decode", 4_400, 6_500)
    trace = load(t.write(tmp_path / "t.json"))
    (row,) = memory(next(views(trace, Options(window="decode")))).memory
    assert (row.first_bytes, row.last_bytes, row.allocations, row.frees) == (100, 150, 1, 0)


def test_without_memory_events_nothing_is_reported(view_of) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=100, kernel=(200, 300))
    assert memory(view_of(t)) == Memory(memory_recorded=False, memory=[], memory_operators=[])


@pytest.mark.parametrize(
    ("name", "peak", "operator"),
    [
        ("tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz", 2_088_508_416, "aten::mul"),
        # of 2021: no totals, and thread ids that are text in one place and numbers in another
        (
            "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
            2_791_505_408,
            "aten::empty",
        ),
    ],
)
def test_real_traces(name: str, peak: int, operator: str, shared_traces) -> None:
    result = memory(next(views(load(shared_traces / name), Options())))
    assert result.memory[0].peak_bytes == peak
    assert result.memory[0].growth_bytes == 0
    assert result.memory_operators[0].operator == operator
