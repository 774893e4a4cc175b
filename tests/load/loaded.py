"""What the tests of the loader share: a trace with everything in it, and equality of loaded traces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polars.testing import assert_frame_equal

from fixtures.builder import ORIGIN_NS, TraceBuilder
from fixtures.layouts import base_ns
from fixtures.planted import GEMM
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import polars as pl

    from mmprof.analyzers.trace import Trace

BASE_NS = base_ns(ORIGIN_NS)
TABLES = ("host", "activities", "device_annotations", "syncs", "memory", "other", "threads")
TIMES = ("start_ns", "end_ns")


def rich() -> TraceBuilder:
    """Every kind of event, on two threads, two devices and three streams; times that padding and rounding change."""
    t = TraceBuilder()
    t.distributed(world_size=2)
    t.carry_in(GEMM, 1_005, 2_010, stream=20)
    with t.python("train.py(12): step", 0, 90_000), t.module("Linear_0", 1_000, 80_000):
        with t.annotation("decode", 2_000, 60_007):
            with t.op("aten::linear", 3_000, 30_050, dims=[[2, 3], []], types=["float", ""]):
                t.launch(GEMM, at=5_007, call_ns=2_093, kernel=(9_050, 12_000))
                t.launch(GEMM, at=8_001, call_ns=1_000, kernel=(12_000, 13_700), stream=20)
            t.memcpy(
                "DtoH (Device -> Pinned)", at=31_000, call_ns=900, copy=(33_003, 35_000), nbytes=64
            )
            t.memset(at=36_000, call_ns=50, fill=(37_000, 37_500), nbytes=1024)
            replay = [("first", 42_000, 43_000), ("second", 43_010, 44_400)]
            t.graph_launch(at=40_000, call_ns=1_500, kernels=replay)
            t.stream_wait(t.record_event(45_000, 45_100, stream=7), 45_200, 45_300, stream=20)
            t.free(t.allocate(512, at=46_000), at=47_000)
        with t.device(1):
            t.launch(GEMM, at=61_000, call_ns=500, kernel=(62_000, 70_000), stream=3)
    with t.thread(99), t.op("aten::mul", 10_000, 20_000):
        t.call("cudaStreamSynchronize", 12_000, 19_000)
    t.overhead("Buffer Flush", 71_000, 72_000)
    return t


def load_text(
    folder: Path, text: str | bytes, *, name: str = "trace.json", **options: Any
) -> Trace:
    """Write the text to a file of this name and load it."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, **options)


def load_events(folder: Path, events: Iterable[Mapping[str, Any] | str], **options: Any) -> Trace:
    """Load a trace of these events, given as dictionaries or as JSON text."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return load_text(folder, '{"traceEvents": [' + ",\n".join(texts) + "]}", **options)


def complete(category: str, name: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    """A complete event of process 1, thread 2."""
    event = {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": 2, "ts": ts, "dur": dur}
    return event | ({"args": args} if args else {})


def counts(trace: Trace) -> dict[str, int]:
    """The number at the start of each note, by its code."""
    return {
        n.code: int(n.message.split()[0].replace(",", ""))
        for n in trace.notes
        if n.message[:1].isdigit()
    }


def codes(trace: Trace) -> list[str]:
    """The codes of the trace's notes."""
    return [n.code for n in trace.notes]


def moved(frame: pl.DataFrame, shift_ns: int) -> pl.DataFrame:
    """The table with its times shifted."""
    return frame.with_columns(frame[name] + shift_ns for name in TIMES if name in frame.columns)


def assert_same(
    left: Trace, right: Trace, *, shift_ns: int = 0, without: tuple[str, ...] = ()
) -> None:
    """The tables and notes are equal, when the times of `left` are shifted."""
    for table in TABLES:
        one, other = moved(getattr(left, table), shift_ns), getattr(right, table)
        assert_frame_equal(one.drop(without, strict=False), other.drop(without, strict=False))
    assert calls(left) == calls(right)
    assert left.notes == right.notes
    assert left.rank == right.rank


def calls(trace: Trace) -> list[tuple[Any, ...]]:
    """The arguments of operators, with JSON read: layouts differ in blanks."""
    return [
        tuple(json.loads(t) if t else t for t in row) for row in trace.calls.drop("call").rows()
    ]
