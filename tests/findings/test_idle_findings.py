"""Findings about idle time: one planted trace where the rule fires, with numbers worked out by hand, and one where not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
import pytest
from finding_rules import check, ended_by, found

from fixtures import planted
from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM, first_gemm
from mmprof.analyzers.findings import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmprof.analyzers.view import View

    ViewOf = Callable[[TraceBuilder], View]


def test_launch_bound_window_counts_all_that_the_host_delays(view_of: ViewOf) -> None:
    view = view_of(planted.launch_starvation()[0])
    match = found("MM101", view)
    # gap 10..20 and gap 25..38.5 are the host's, with the latency of the late launches
    assert (match.time_ns, match.removable_ns, match.count) == (23_500, 23_500, 2)
    assert match.events == ended_by(view, [38_500, 20_000])
    assert match.title == (
        "GPU idle 23.5 us (58.8 %) waiting for the host to launch: 3 launches of 2.00 us median; "
        "most of the wait is outside any recorded operator (Python)"
    )


@pytest.mark.parametrize("built", [planted.queue, planted.fully_busy, planted.dependency])
def test_no_launch_bound_window_where_the_host_was_ahead(
    view_of: ViewOf, built: Callable[[], planted.Planted]
) -> None:
    assert check("MM101", view_of(built()[0])) is None


def test_launch_bound_window_of_the_main_thread_asks_for_compilation(view_of: ViewOf) -> None:
    match = found("MM101", view_of(planted.cpu_nested()[0]))
    assert (match.time_ns, match.lever) == (17_000, "torch_compile")
    assert match.title.startswith(
        "The main thread is outside working operators for 17.0 us (34.0 %)"
    )


def test_synchronization_counts_the_way_back_to_the_next_kernel(view_of: ViewOf) -> None:
    match = found("MM102", view_of(planted.sync()[0]))
    # gap 52..76 without the queue's 3: sync 8, python 5, dispatch 5, launch 3; the host waited 50.5, more than that
    assert (match.time_ns, match.removable_ns, match.count) == (21_000, 21_000, 1)
    assert match.where == "aten::_local_scalar_dense"
    assert "1 synchronization" in match.title


def test_a_synchronization_cannot_gain_more_than_the_host_waited(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamSynchronize", 12_000, 13_000)
    with t.op("aten::mm", 33_000, 39_000):
        t.launch(GEMM, at=36_000, call_ns=2_000, kernel=(40_000, 50_000))
    match = found("MM102", view_of(t))
    # gap 10..40: python 2 + 20, sync 1, dispatch 3, launch 2
    assert (match.time_ns, match.removable_ns) == (28_000, 1_000)
    assert match.where == "cudaStreamSynchronize"


def test_a_wait_that_began_before_the_gap_counts_as_a_whole(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamSynchronize", 4_000, 11_000)
    with t.op("aten::mm", 12_000, 18_000):
        t.launch(GEMM, at=15_000, call_ns=1_000, kernel=(16_000, 50_000))
    match = found("MM102", view_of(t))
    # gap 10..16: sync 1, python 1, dispatch 3, launch 1; the host waited for 7
    assert (match.time_ns, match.removable_ns) == (6_000, 6_000)


def test_synchronizations_are_counted_per_operator_and_step(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for step, at in enumerate((0, 100_000)):
        with t.annotation(f"ProfilerStep#{step}", at, at + 90_000):
            with t.op("aten::mm", at + 1_000, at + 5_000):
                t.launch(GEMM, at=at + 2_000, call_ns=1_000, kernel=(at + 4_000, at + 20_000))
            with t.op("aten::copy_", at + 6_000, at + 40_000):
                t.memcpy(
                    "DtoH (Device -> Pageable)",
                    at=at + 7_000,
                    call_ns=20_000,
                    copy=(at + 20_000, at + 25_000),
                    nbytes=4096,
                )
                t.call("cudaStreamSynchronize", at + 28_000, at + 35_000)
    match = found("MM102", view_of(t))
    assert match.count == 2  # the blocking copy and the synchronization of an operator are one wait
    assert "2 synchronizations, 1.0 a step" in match.title


@pytest.mark.parametrize(
    "built", [planted.launch_starvation, planted.fully_busy, planted.cpu_nested]
)
def test_no_synchronization_without_a_blocking_call(
    view_of: ViewOf, built: Callable[[], planted.Planted]
) -> None:
    assert check("MM102", view_of(built()[0])) is None


def test_allocator_calls_are_named_and_counted(view_of: ViewOf) -> None:
    match = found("MM109", view_of(planted.allocator()[0]))
    assert (match.time_ns, match.removable_ns) == (20_000, 20_000)
    assert match.title == (
        "GPU idle 20.0 us (50.0 %) while the host allocates or frees memory, at most 20.0 us at once: "
        "1 cudaMalloc"
    )


def test_no_allocator_finding_for_another_runtime_call(view_of: ViewOf) -> None:
    assert check("MM109", view_of(planted.runtime()[0])) is None


def test_data_loader_wait_names_the_loader_without_workers(view_of: ViewOf) -> None:
    match = found("MM110", view_of(planted.dataloader()[0]))
    assert (match.time_ns, match.removable_ns, match.expected_share) == (20_000, 20_000, 0.7)
    assert match.where == "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
    assert match.title.endswith("the longest wait is 20.0 us, and the loader has no workers")


def test_data_loader_with_workers_is_not_said_to_have_none(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.annotation("enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", 11_000, 31_000)
    with t.op("aten::mm", 33_000, 39_000):
        t.launch(GEMM, at=36_000, call_ns=2_000, kernel=(40_000, 50_000))
    match = found("MM110", view_of(t))
    assert match.time_ns == 20_000
    assert "no workers" not in match.title


def test_no_data_loader_finding_without_a_loader(view_of: ViewOf) -> None:
    assert check("MM110", view_of(planted.launch_starvation()[0])) is None


def test_compilation_in_the_window(view_of: ViewOf) -> None:
    match = found("MM111", view_of(planted.compile_region()[0]))
    assert (match.time_ns, match.removable_ns) == (20_000, 20_000)


def test_graph_capture_in_the_window_counts_from_begin_to_end(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamBeginCapture", 12_000, 13_000)
    t.op("aten::mul", 15_000, 20_000)
    t.call("cudaStreamEndCapture", 27_000, 29_000)
    t.call("cudaGraphInstantiate", 30_000, 34_000)
    t.graph_launch(at=36_000, call_ns=2_000, kernels=[(GEMM, 40_000, 50_000)])
    match = found("MM111", view_of(t))
    # 12..29 captures, 30..34 makes the graph
    assert match.time_ns == 21_000
    assert "2 graph captures" in match.title


def test_no_compilation_finding_for_a_replayed_graph(view_of: ViewOf) -> None:
    assert check("MM111", view_of(planted.graph()[0])) is None


def test_nothing_linked_is_said_first_of_all(view_of: ViewOf) -> None:
    match = found("MM116", view_of(planted.device_only()[0]))
    assert (match.time_ns, match.removable_ns, match.severity) == (20_000, 0, "high")
    assert match.title.startswith("None of the 2 activities has a launch in this trace")


def test_launched_work_that_does_not_start_is_unexplained(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.launch(ADD, at=8_000, call_ns=1_000, kernel=(3_009_000, 3_010_000))
    t.carry_in(GEMM, 1_000_000, 1_500_000)
    match = found("MM116", view_of(t))
    # the gap 10 us..3,009 us, in which a carried-in kernel runs for 500 us
    assert (match.time_ns, match.removable_ns, match.count) == (2_999_000, 0, 1)
    assert match.severity == "high"
    assert "work launched before the recording runs for 500 us" in match.title


@pytest.mark.parametrize("built", [planted.carry_in, planted.queue, planted.cpu_nested])
def test_what_lies_outside_the_window_or_is_short_is_trusted(
    view_of: ViewOf, built: Callable[[], planted.Planted]
) -> None:
    assert check("MM116", view_of(built()[0])) is None


def late_by(host_ns: int, *, queue_ns: int = 0) -> TraceBuilder:
    """A second kernel whose launch comes `host_ns` after the end of the first, and that starts `queue_ns` after it."""
    t = TraceBuilder()
    first_gemm(t)
    at = 10_000 + host_ns
    start = at + 1_000 + queue_ns
    t.launch(ADD, at=at, call_ns=1_000, kernel=(start, start + 1_000))
    return t


def test_a_long_pause_is_no_late_launch(view_of: ViewOf) -> None:
    match = found("MM118", view_of(late_by(1_500_000)))
    assert (match.time_ns, match.count) == (1_501_000, 1)  # python 1,500 us, launch 1 us
    assert "in 1 long pause of the host" in match.title
    assert match.title.endswith("mostly outside any recorded operator (Python)")
    assert check("MM101", view_of(late_by(1_500_000))) is None


def test_a_short_pause_is_a_late_launch(view_of: ViewOf) -> None:
    view = view_of(late_by(900_000))
    assert check("MM118", view) is None
    assert found("MM101", view).time_ns == 901_000


def test_a_pause_in_a_graph_capture_is_left_to_its_rule(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamBeginCapture", 12_000, 13_000)
    t.call("cudaStreamEndCapture", 2_027_000, 2_029_000)
    t.graph_launch(at=2_036_000, call_ns=2_000, kernels=[(GEMM, 2_040_000, 2_050_000)])
    view = view_of(t)
    assert check("MM118", view) is None
    assert found("MM111", view).time_ns == 2_017_000


def test_a_long_latency_after_a_late_launch_is_not_the_hosts(view_of: ViewOf) -> None:
    view = view_of(late_by(900_000, queue_ns=4_000_000))
    assert found("MM101", view).time_ns == 901_000
    assert found("MM116", view).time_ns == 4_000_000


@pytest.mark.parametrize("queue_ns", [0, 490_000, 999_000])
@pytest.mark.parametrize("host_ns", [5_000, 700_000, 998_999, 999_000, 1_500_000])
def test_an_idle_window_always_has_a_finding(view_of: ViewOf, host_ns: int, queue_ns: int) -> None:
    view = view_of(late_by(host_ns, queue_ns=queue_ns))
    codes = {f.code for f in find(view)}
    # the launch call adds 1,000 ns to what the host needs; a millisecond of it is a pause
    assert ("MM118" if host_ns >= 999_000 else "MM101") in codes
    assert ("MM101" if host_ns >= 999_000 else "MM118") not in codes


def test_a_short_capture_does_not_excuse_a_long_pause(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamBeginCapture", 12_000, 13_000)
    t.call("cudaStreamEndCapture", 27_000, 29_000)
    t.launch(ADD, at=3_009_000, call_ns=1_000, kernel=(3_010_000, 3_020_000))
    # gap 10..3,010 less the capture 12..29
    assert found("MM118", view_of(t)).time_ns == 2_983_000


@pytest.mark.parametrize(("code", "pause_ns"), [("MM101", 90_000), ("MM118", 5_000_000)])
def test_without_operators_dispatch_is_not_called_python(
    view_of: ViewOf, code: str, pause_ns: int
) -> None:
    t = TraceBuilder()
    for at in (0, pause_ns):
        t.launch(ADD, at=at, call_ns=2_000, kernel=(at + 3_000, at + 10_000))
    title = found(code, view_of(t)).title
    assert title.endswith("(no operators were recorded: it may be dispatch or Python)")


def test_idle_time_in_which_other_work_runs_is_not_counted(view_of: ViewOf) -> None:
    t = TraceBuilder()
    first_gemm(t)
    t.call("cudaStreamBeginCapture", 12_000, 13_000)
    t.call("cudaStreamEndCapture", 27_000, 29_000)
    t.launch(ADD, at=30_000, call_ns=1_000, kernel=(31_000, 41_000))
    t.carry_in(GEMM, 15_000, 25_000)
    # the capture 12..29 less the carried-in kernel 15..25
    assert found("MM111", view_of(t)).time_ns == 7_000


def test_work_of_other_steps_is_no_idle_time_of_the_host(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(20_000, 60_000), stream=20)
    t.launch(ADD, at=6_000, call_ns=1_000, kernel=(8_000, 20_000))
    t.launch(ADD, at=92_000, call_ns=1_000, kernel=(94_000, 99_000))
    view = view_of(t)
    origin = int(str(view.trace.host["start_ns"].min()))
    spans = pl.DataFrame({"start_ns": [origin + 5_000], "end_ns": [origin + 95_000]})
    match = found("MM101", replace(view, spans=spans))
    # gap 20..94 of the window 8..99, in which the other step's kernel runs 20..60
    assert match.time_ns == 34_000
    assert match.title.startswith("GPU idle 34.0 us (37.4 %)")
