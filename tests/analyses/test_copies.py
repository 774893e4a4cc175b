from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.events import Event
from fixtures.planted import GEMM, pageable_copy
from mmprof.analyzers.analyses.copies import CopyRow, copies
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load


def test_a_pageable_copy_holds_its_call(view_of) -> None:
    built, expected = pageable_copy()
    time_ns = expected["pageable_ns"]
    assert copies(view_of(built)).copies == [
        CopyRow(
            "HtoD", "pageable", 1, 25_000, time_ns, time_ns, 1.0, blocking=1, host_blocked_ns=30_000
        )
    ]


def transfers(platform="cuda") -> TraceBuilder:
    t = TraceBuilder(platform)
    t.memcpy("HtoD (Pinned -> Device)", at=0, call_ns=500, copy=(1_000, 3_000), nbytes=40_000)
    t.memcpy("HtoD (Pinned -> Device)", at=600, call_ns=400, copy=(3_000, 4_000), nbytes=20_000)
    t.memcpy("DtoH (Device -> Pageable)", at=5_000, call_ns=4_000, copy=(6_000, 8_000), nbytes=8)
    t.memcpy(
        "DtoD (Device -> Device)", at=9_500, call_ns=100, copy=(10_000, 10_500), nbytes=100_000
    )
    t.memset(at=9_700, call_ns=100, fill=(11_000, 11_100), nbytes=4_000)
    return t


def test_copies_by_direction_and_host_memory(view_of) -> None:
    assert copies(view_of(transfers())).copies == [
        CopyRow("HtoD", "pinned", 2, 60_000, 3_000, 3_000, 20.0, 0, 0),
        CopyRow("DtoH", "pageable", 1, 8, 2_000, 2_000, 0.004, 1, 4_000),
        CopyRow("DtoD", "device", 1, 100_000, 500, 500, 200.0, 0, 0),
        CopyRow("memset", "device", 1, 4_000, 100, 100, 40.0, 0, 0),
    ]


def test_rocm_does_not_say_which_host_memory_nor_how_much_is_filled(view_of) -> None:
    rows = copies(view_of(transfers("rocm"))).copies
    told = [(row.direction, row.memory, row.bytes, row.gbytes_per_s) for row in rows]
    assert told == [
        ("HtoD", "unknown", 60_000, 20.0),
        ("DtoH", "unknown", 8, 0.004),
        ("DtoD", "device", 100_000, 200.0),
        ("memset", "device", 0, None),
    ]


@pytest.mark.parametrize(
    ("name", "direction", "memory"),
    [
        ("Memcpy HtoD (Pageable -> Device)", "HtoD", "pageable"),
        ("Memcpy DtoH (Device -> Managed)", "DtoH", "managed"),
        ("Memcpy PtoP (Device -> Device)", "PtoP", "device"),
        ("Memcpy HtoH (Pinned -> Pageable)", "HtoH", "pinned"),
        ("CopyDeviceToHost", "DtoH", "unknown"),
        ("zeCommandListAppendMemoryCopy(M2D)", "HtoD", "unknown"),
        ("Memcpy", "unknown", "unknown"),
    ],
)
def test_what_a_name_says(name: str, direction: str, memory: str, view_of) -> None:
    t = TraceBuilder()
    correlation = t.call("cudaMemcpyAsync", 0, 10)
    args = {"correlation": correlation, "device": 0, "stream": 7, "bytes": 8}
    t.add(Event("gpu_memcpy", name, 0, 7, 100, 50, args))
    (row,) = copies(view_of(t)).copies
    assert (row.direction, row.memory) == (direction, memory)


def test_a_copy_under_a_kernel_owns_only_what_the_kernel_leaves(view_of) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=500, kernel=(1_000, 5_000), stream=7)
    t.memcpy(
        "HtoD (Pinned -> Device)", at=600, call_ns=100, copy=(2_000, 6_000), nbytes=8, stream=20
    )
    (row,) = copies(view_of(t)).copies
    assert (row.time_ns, row.own_ns) == (4_000, 1_000)


def test_a_trace_without_copies_has_no_rows(view_of) -> None:
    t = TraceBuilder("cpu")
    t.op("aten::copy_", 0, 100)
    assert copies(view_of(t)).copies == []


@pytest.mark.parametrize(
    "name",
    [
        "hta/trace_diff/test/test.json.gz",
        "tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz",
        "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz",
    ],
)
def test_all_copies_and_fills_of_real_traces_are_counted(name: str, shared_traces) -> None:
    view = next(views(load(shared_traces / name), Options()))
    kinds = view.activities["kind"].is_in(["memcpy", "memset"])
    moved = view.activities.filter(kinds)
    rows = copies(view).copies
    assert rows
    assert sum(row.count for row in rows) == len(moved)
    assert sum(row.bytes for row in rows) == moved["bytes"].sum()
    assert sum(row.own_ns for row in rows) == moved["own_ns"].sum()
    assert "unknown" not in {row.direction for row in rows}
