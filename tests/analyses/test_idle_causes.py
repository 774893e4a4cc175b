from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import CAUSES, PLANTED
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.timeline import timeline


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
