"""Busy and idle time, and the host time around it, of a window and of the whole trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.analyses.timeline import timeline
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.trace import Trace


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Two steps of 1000 us; in each a kernel from 910 to 990 us, the second one until 1 us after its step."""
    t = TraceBuilder()
    t.annotation("ProfilerStep#1", 0, 1_000_000)
    t.annotation("ProfilerStep#2", 1_000_000, 2_000_000)
    t.launch(GEMM, at=900_000, call_ns=5_000, kernel=(910_000, 990_000))
    t.launch(GEMM, at=1_900_000, call_ns=5_000, kernel=(1_910_000, 2_001_000))
    return load(t.write(tmp_path / "t.json"))


@pytest.mark.parametrize(
    ("window", "head_ns", "tail_ns"),
    [
        ("", 910_000, 0),
        ("ProfilerStep#1", 910_000, 10_000),
        ("ProfilerStep#2", 910_000, 0),
        ("ProfilerStep", 910_000, 0),
        # time 0 is the first launch, at 900 us
        ("0..50us", 10_000, 0),
        ("0..200us", 10_000, 110_000),
        ("200us..900us", 0, 0),
    ],
)
def test_host_time_around_the_window(trace: Trace, window: str, head_ns: int, tail_ns: int) -> None:
    found = timeline(next(views(trace, Options(window=window))))
    assert (found.head_ns, found.tail_ns) == (head_ns, tail_ns)


def test_the_whole_trace(trace: Trace) -> None:
    found = timeline(next(views(trace, Options())))
    assert (found.window_ns, found.busy_ns, found.idle_ns) == (1_091_000, 171_000, 920_000)
    assert found.activities["kernel"].count == 2
