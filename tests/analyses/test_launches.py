from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import (
    ADD,
    GEMM,
    cpu_nested,
    device_only,
    fully_busy,
    graph,
    launch_starvation,
    short_kernels,
    sync,
)
from mmprof.analyzers.analyses.launches import LaunchStatistics, Spread, launches
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]
NOTHING = Spread(0, 0, 0)


def test_a_graph_is_one_call_with_many_activities(view_of: ViewOf) -> None:
    built, _ = graph()
    result = launches(view_of(built))
    found = result.launches
    assert (found.count, found.activities, found.activities_per_launch_max) == (2, 5, 4)
    assert [(r.api, r.count, r.activities, r.time_ns) for r in result.launch_calls] == [
        ("cudaGraphLaunch", 1, 4, 10_000),
        ("cudaLaunchKernel", 1, 1, 1_000),
    ]
    # eager: call 0..1, kernel at 2; graph: call 5..15, first kernel at 20
    assert found.queue_delay == Spread(median_ns=1_000, p90_ns=1_000, max_ns=5_000)
    assert found.launch_delay == Spread(median_ns=2_000, p90_ns=2_000, max_ns=15_000)
    assert found.call_sum_ns == 11_000


def test_percentiles_are_recorded_values(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for number in range(11):
        at = 10_000 * number
        t.launch(GEMM, at=at, call_ns=100 * (number + 1), kernel=(at + 5_000, at + 6_000))
    (row,) = launches(view_of(t)).launch_calls
    assert (row.median_ns, row.p90_ns, row.max_ns) == (600, 1_000, 1_100)


def test_kernels_shorter_than_their_launch_are_counted(view_of: ViewOf) -> None:
    built, _ = short_kernels()  # kernels of 1.5 µs, calls of 2 µs
    short = launches(view_of(built)).launches.short_kernels
    assert (short.count, short.own_ns, short.share) == (20, 30_000, 1.0)


def test_the_call_of_a_graph_is_shared_out_among_its_kernels(view_of: ViewOf) -> None:
    t = TraceBuilder()
    # 8 µs for two kernels: 4 µs each
    t.graph_launch(at=0, call_ns=8_000, kernels=[(GEMM, 9_000, 12_000), (ADD, 12_000, 17_000)])
    short = launches(view_of(t)).launches.short_kernels
    assert (short.count, short.own_ns, short.share) == (1, 3_000, 0.5)


def test_a_host_that_cannot_keep_up_sets_the_pace(view_of: ViewOf) -> None:
    built, _ = launch_starvation()
    found = launches(view_of(built)).launches
    # kernels 2 and 3 begin after gaps of 10 and 13.5 µs of a window of 40; the first has no gap before it
    assert found.host_bound_share == 2 / 3
    assert (found.host_wait_ns, found.verdict) == (23_500, "host-bound")


def test_a_full_queue_lets_the_device_set_the_pace(view_of: ViewOf) -> None:
    built, _ = fully_busy()
    found = launches(view_of(built)).launches
    assert (found.host_bound_share, found.host_wait_ns, found.verdict) == (0.0, 0, "device-bound")


def test_waits_that_are_few_but_long_are_mixed(view_of: ViewOf) -> None:
    built, _ = sync()  # one of three launches, after 24 of 80 µs
    found = launches(view_of(built)).launches
    assert (found.host_wait_ns, found.verdict) == (24_000, "mixed")


def test_a_gap_behind_a_deep_queue_is_not_the_hosts_fault(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(10_000, 20_000))
    t.launch(GEMM, at=2_000, call_ns=1_000, kernel=(50_000, 60_000))
    found = launches(view_of(t)).launches
    assert (found.host_bound_share, found.host_wait_ns) == (0.0, 0)


def test_depth_counts_launches_of_a_stream_that_have_not_started(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for number in range(4):
        start = 20_000 + 1_000 * number
        t.launch(GEMM, at=1_000 * number, call_ns=500, kernel=(start, start + 1_000), stream=7)
    t.launch(ADD, at=4_000, call_ns=500, kernel=(21_000, 22_000), stream=20)
    # three of stream 7 have started by then
    t.launch(GEMM, at=22_500, call_ns=500, kernel=(30_000, 31_000), stream=7)
    assert launches(view_of(t)).launches.max_queue_depth == 4


def _queue(blocked_ns: int) -> TraceBuilder:
    """1001 launches of 1 µs before the first kernel starts, and one more that takes longer."""
    t = TraceBuilder()
    for number in range(1_001):
        start = 5_000_000 + 2_000 * number
        t.launch(GEMM, at=2_000 * number, call_ns=1_000, kernel=(start, start + 2_000))
    t.launch(GEMM, at=2_002_000, call_ns=blocked_ns, kernel=(7_100_000, 7_102_000))
    return t


@pytest.mark.parametrize(("call_ns", "calls", "time_ns"), [(10_000, 0, 0), (15_000, 1, 14_000)])
def test_a_long_call_at_a_full_queue_was_blocked(
    view_of: ViewOf, call_ns: int, calls: int, time_ns: int
) -> None:
    found = launches(view_of(_queue(call_ns))).launches
    assert found.max_queue_depth == 1_002
    assert (found.queue_full_calls, found.queue_full_ns) == (calls, time_ns)


def test_a_long_call_at_an_empty_queue_was_not_blocked_by_it(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for number in range(20):
        at = 100_000 * number
        call_ns = 50_000 if number == 19 else 1_000
        t.launch(GEMM, at=at, call_ns=call_ns, kernel=(at + 60_000, at + 61_000))
    assert launches(view_of(t)).launches.queue_full_calls == 0


def test_the_profilers_own_record_of_a_full_queue_is_a_union(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_000, 3_000))
    t.overhead("Command Buffer Full", 1_000, 4_000)
    t.overhead("Command Buffer Full", 3_000, 5_000)
    t.overhead("Buffer Flush", 5_000, 9_000)
    assert launches(view_of(t)).launches.command_buffer_full_ns == 4_000


def test_a_start_before_the_launch_is_counted_and_delays_nothing(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=5_000, call_ns=1_000, kernel=(4_000, 8_000))
    found = launches(view_of(t)).launches
    assert (found.early_starts, found.max_queue_depth) == (1, 1)
    assert found.queue_delay == found.launch_delay == NOTHING


@pytest.mark.parametrize("planted", [cpu_nested, device_only])
def test_without_launches_nothing_is_claimed(
    view_of: ViewOf, planted: Callable[[], tuple[TraceBuilder, dict[str, int]]]
) -> None:
    built, _ = planted()
    result = launches(view_of(built))
    assert result.launch_calls == []
    assert (result.launches.count, result.launches.verdict) == (0, "unknown")
    assert result.launches.call == NOTHING


def _statistics(folder: Path, path: str) -> tuple[View, LaunchStatistics]:
    view = next(views(load(folder / path), Options()))
    return view, launches(view).launches


def test_bert_on_mi300_waits_for_its_host(shared_traces: Path) -> None:
    path = "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz"
    view, found = _statistics(shared_traces, path)
    assert found.verdict == "host-bound"
    assert 0 < found.host_wait_ns <= view.window_ns - view.busy_ns


def test_resnet_fills_the_queue_of_1024(shared_traces: Path) -> None:
    path = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
    _, found = _statistics(shared_traces, path)
    assert found.verdict == "device-bound"
    assert 1_000 < found.max_queue_depth <= 1_024
    assert 0 < found.queue_full_ns < found.call_sum_ns
