from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import CAUSES, PLANTED
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.timeline import timeline
from mmprof.analyzers.analyze import Options, views


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.__name__)
def test_planted_nanoseconds_are_recovered_exactly(planted, view_of) -> None:
    built, expected = planted()
    view = view_of(built)
    found = {row.cause: row.time_ns for row in idle_causes(view).idle_causes}
    measured = timeline(view)
    assert found == {c: expected[c] for c in CAUSES if expected.get(c)}
    assert (measured.window_ns, measured.busy_ns, measured.idle_ns) == tuple(
        expected[k] for k in ("window_ns", "busy_ns", "idle_ns")
    )


def test_the_largest_gap_names_what_stood_around_its_launch(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 4_000):
        t.launch("first", at=1_000, call_ns=1_000, kernel=(2_000, 3_000))
    with (
        t.python("train.py(12): step", 5_000, 60_000),
        t.module("Block_0", 6_000, 59_000),
        t.module("Linear_1", 7_000, 58_000),
        t.op("aten::linear", 8_000, 57_000),
        t.op("aten::addmm", 50_000, 56_000),
    ):
        t.launch("second", at=52_000, call_ns=1_000, kernel=(53_000, 60_000))
    gap = idle_causes(view_of(t)).largest_gaps[0]
    # gap 3..53: dispatch 3..4 (the first operator), python 4..8, dispatch 8..52, launch 52..53
    assert (gap.dur_ns, gap.cause) == (50_000, "dispatch")
    assert gap.causes == {"python": 4_000, "dispatch": 45_000, "launch": 1_000}
    assert (gap.before, gap.operator, gap.module) == ("second", "aten::addmm", "Block_0.Linear_1")
    assert gap.source == "train.py:12 step"


def test_an_autograd_thread_is_asked_for_its_own_state(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 4_000):
        t.launch("forward", at=1_000, call_ns=1_000, kernel=(2_000, 10_000))
    with t.thread(99), t.op("MmBackward0", 12_000, 30_000):
        t.launch("backward", at=20_000, call_ns=1_000, kernel=(21_000, 30_000))
    found = {row.cause: row.time_ns for row in idle_causes(view_of(t)).idle_causes}
    assert found == {"python": 2_000, "dispatch": 8_000, "launch": 1_000}


def test_work_of_another_step_is_outside_and_not_the_hosts_fault(view_of) -> None:
    t = TraceBuilder()
    with t.annotation("ProfilerStep#1", 0, 10_000), t.op("c10d::allreduce_", 1_000, 9_000):
        t.launch(
            "ncclDevKernel_AllReduce_Sum",
            at=2_000,
            call_ns=1_000,
            kernel=(20_000, 100_000),
            stream=20,
        )
    with t.annotation("ProfilerStep#2", 11_000, 90_000):
        with t.op("aten::mm", 12_000, 20_000):
            t.launch("a", at=13_000, call_ns=1_000, kernel=(30_000, 40_000))
        with t.op("aten::mm", 60_000, 80_000):
            t.launch("b", at=65_000, call_ns=1_000, kernel=(110_000, 120_000))
    trace = view_of(t).trace
    view = next(views(trace, Options(window="ProfilerStep#2")))
    found = {row.cause: row.time_ns for row in idle_causes(view).idle_causes}
    # window 30..120, gap 40..110: the collective of step 1 runs until 100, then b waits in the queue
    assert found == {"outside": 60_000, "queue": 10_000}


def test_item_waits_only_where_a_call_inside_it_does(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 4_000):
        t.launch("a", at=1_000, call_ns=1_000, kernel=(2_000, 10_000))
    with t.op("aten::item", 12_000, 20_000), t.op("aten::_local_scalar_dense", 13_000, 19_000):
        pass
    with t.op("aten::mm", 20_000, 30_000):
        t.launch("b", at=25_000, call_ns=1_000, kernel=(26_000, 30_000))
    found = {row.cause: row.time_ns for row in idle_causes(view_of(t)).idle_causes}
    assert found == {"python": 2_000, "dispatch": 13_000, "launch": 1_000}


def test_deeply_nested_operators_do_not_make_a_thread_the_main_one(view_of) -> None:
    t = TraceBuilder("cpu")
    with t.op("aten::convolution", 0, 10_000):
        pass
    with (
        t.thread(2),
        t.op("a", 0, 3_000),
        t.op("b", 0, 3_000),
        t.op("c", 0, 3_000),
        t.op("d", 0, 3_000),
    ):
        pass
    view = view_of(t)
    assert view.selected["name"].cast(str).to_list() == ["aten::convolution"]
    assert view.window_ns == 10_000
