"""What explains a late start: a slow call, another stream that ends, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import Replay, Shortened
from mmprof.analyzers.whatif.fusion import graphed

ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevComm*, unsigned long, ncclWork*)"

ViewOf = Callable[[TraceBuilder], View]


def test_a_slow_call_is_slow_before_it_launches(view_of: ViewOf) -> None:
    # the last of four calls loads its kernel for 100 us: that is host time, no unexplained latency
    t = TraceBuilder()
    for at, call_ns in ((0, 2_000), (10_000, 2_000), (20_000, 2_000), (30_000, 102_000)):
        start = at + call_ns + 1_000
        t.launch(GEMM, at=at, call_ns=call_ns, kernel=(start, start + 1_000))
    replay = Replay(view_of(t))
    assert (replay.error, replay.unexplained) == (0, 0)


def two_streams(*, start: int) -> TraceBuilder:
    """Four kernels on stream 7, 1 us apart, a collective of 1 ms on stream 20 and a kernel on stream 7 that starts at a given time."""
    t = TraceBuilder()
    for at in range(4):
        t.launch(
            GEMM, at=at * 1_000, call_ns=500, kernel=(5_000 + at * 11_000, 15_000 + at * 11_000)
        )
    t.launch(ALL_REDUCE, at=5_000, call_ns=500, kernel=(10_000, 1_010_000), stream=20)
    t.launch(GEMM, at=6_000, call_ns=500, kernel=(start, start + 90_000))
    return t


def test_a_stream_that_stood_still_waited_for_what_ended_then(view_of: ViewOf) -> None:
    # 0.9 ms of the collective are left, and what waited for it follows 1 us later, as recorded
    replay = Replay(view_of(two_streams(start=1_011_000)))
    assert replay.unexplained == 0
    less = pl.DataFrame({"row": [1], "left_ns": [900_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(less)]) == replay.window_ns - 100_000


def test_a_pause_that_ends_with_nothing_is_unexplained(view_of: ViewOf) -> None:
    # 400 us after the collective: the stream was free at 48, and 1 us later the kernel could have started
    replay = Replay(view_of(two_streams(start=1_410_000)))
    assert replay.unexplained == pytest.approx((1_410 - 49) / (1_500 - 5))
    assert not replay.reliable


def test_errors_that_make_up_for_each_other_are_counted_all_the_same(view_of: ViewOf) -> None:
    # lags of 0, 10, 10 and 20 us: typical ones give the same 80 us, but of the last 10 us are unexplained
    t = TraceBuilder()
    for at, start in (
        (1_000, 10_000),
        (3_000, 20_000),
        (5_000, 40_000),
        (7_000, 60_000),
        (8_500, 90_000),
    ):
        t.launch(GEMM, at=at, call_ns=1_000, kernel=(start, start + 10_000))
    replay = Replay(view_of(t))
    assert (replay.window_ns, replay.replayed_ns) == (90_000, 90_000)
    assert replay.unexplained == pytest.approx(10 / 90)
    assert not replay.reliable
    assert graphed(replay)[1].startswith("no recorded cause explains 11.1 % of the window")
