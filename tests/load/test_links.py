"""Activities find their launch, their operator and their row; what is wrong with links and times is noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from loaded import codes, complete, counts, load_events, rich

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.load import load
from mmprof.analyzers.view import HOST_DEVICE

if TYPE_CHECKING:
    from pathlib import Path

    from mmprof.analyzers.trace import Trace


def built(folder: Path, trace: TraceBuilder) -> Trace:
    return load(trace.write(folder / "trace.json"))


def launches(trace: Trace) -> list[tuple[str, str | None, str | None]]:
    """(activity, launch, operator) by event."""
    names = trace.host.select(pl.col("row"), pl.col("name").cast(pl.String))
    linked = trace.activities.join(
        names, left_on="launch", right_on="row", how="left", suffix="_launch"
    )
    linked = linked.join(names, left_on="operator", right_on="row", how="left", suffix="_operator")
    return linked.sort("event").select("name", "name_launch", "name_operator").rows()


# --- launches -----------------------------------------------------------------------------------------------------


def test_every_kind_of_activity_finds_its_launch_and_operator(tmp_path: Path) -> None:
    assert launches(built(tmp_path, rich())) == [
        (GEMM, None, None),
        (GEMM, "cudaLaunchKernel", "aten::linear"),
        (GEMM, "cudaLaunchKernel", "aten::linear"),
        ("Memcpy DtoH (Device -> Pinned)", "cudaMemcpyAsync", None),
        ("Memset (Device)", "cudaMemsetAsync", None),
        ("first", "cudaGraphLaunch", None),
        ("second", "cudaGraphLaunch", None),
        (GEMM, "cudaLaunchKernel", None),
    ]


def test_links_need_no_flows(tmp_path: Path) -> None:
    t = TraceBuilder(flows=False)
    with t.op("aten::mm", 0, 5_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 4_000))
    trace = built(tmp_path, t)
    assert launches(trace) == [(GEMM, "cudaLaunchKernel", "aten::mm")]
    assert trace.kept_out.get("flow") is None


def test_a_driver_call_and_a_launch_of_any_name_are_launches(tmp_path: Path) -> None:
    events = [
        complete("cuda_driver", "cuLaunchKernelEx", 10, 5, correlation=1),
        complete("xpu_runtime", "urEnqueueKernelLaunch", 20, 5, correlation=2),
        *(complete("kernel", f"k{n}", 100 * n, 5, correlation=n) for n in (1, 2)),
    ]
    assert [row[1] for row in launches(load_events(tmp_path, events))] == [
        "cuLaunchKernelEx",
        "urEnqueueKernelLaunch",
    ]


def test_the_operator_is_that_of_the_launching_thread(tmp_path: Path) -> None:
    t = TraceBuilder()
    with t.op("aten::mul", 0, 9_000):
        pass
    with t.thread(77), t.op("MulBackward0", 0, 9_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 4_000))
    assert launches(built(tmp_path, t)) == [(GEMM, "cudaLaunchKernel", "MulBackward0")]


@pytest.mark.parametrize("correlation", [0, -1, None, "x", 1.5])
def test_an_id_that_is_none_links_nothing(tmp_path: Path, correlation: object) -> None:
    events = [
        complete("cuda_runtime", "cudaLaunchKernel", 1, 1, correlation=correlation),
        complete("kernel", "k", 5, 1, correlation=correlation),
    ]
    trace = load_events(tmp_path, events)
    assert trace.activities["launch"].to_list() == [None]
    assert codes(trace) == ["MM-N003"]


def test_repeated_ids_are_noted_and_the_first_counts(tmp_path: Path) -> None:
    events = [
        complete("cuda_runtime", "late", 30, 1, correlation=4),
        complete("cuda_runtime", "early", 10, 1, correlation=4),
        complete("cuda_driver", "between", 20, 1, correlation=4),
        complete("cuda_runtime", "other", 25, 1, correlation=5),
        complete("kernel", "k", 50, 1, correlation=4),
    ]
    trace = load_events(tmp_path, events)
    assert launches(trace) == [("k", "early", None)]
    assert counts(trace) == {"MM-N009": 2}


# --- devices and streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "args", "expected"),
    [
        ({"pid": 0, "tid": 7}, {"device": 3, "stream": 20}, (3, 20)),
        ({"pid": 3, "tid": 20}, {}, (3, 20)),
        ({"pid": 3, "tid": "stream 20"}, {}, (3, 20)),
        ({"pid": "3", "tid": "20"}, {}, (3, 20)),
        ({"pid": 2, "tid": "7"}, {"device": None, "stream": "0x5"}, (2, 5)),
        ({"pid": 2, "tid": 0}, {"device": -1, "stream": 0}, (2, 0)),
        ({"pid": "GPU", "tid": "a 1 b"}, {}, (-2, -1)),
        ({"pid": -1, "tid": -1}, {}, (-2, -1)),
    ],
)
def test_device_and_stream_from_arguments_or_row(
    tmp_path: Path, row: dict[str, object], args: dict[str, object], expected: tuple[int, int]
) -> None:
    trace = load_events(tmp_path, [complete("kernel", "k", 1, 1) | row | {"args": args}])
    assert trace.activities.select("device", "stream").row(0) == expected


def test_an_activity_of_no_known_device_is_not_the_host(tmp_path: Path) -> None:
    trace = load_events(tmp_path, [complete("kernel", "k", 1, 1, device=-1) | {"pid": "x"}])
    assert trace.activities["device"].to_list() != [HOST_DEVICE]


def test_several_devices_of_one_process(tmp_path: Path) -> None:
    t = TraceBuilder()
    for device in (0, 1, 2):
        with t.device(device):
            t.launch(GEMM, at=1_000 * device, call_ns=10, kernel=(9_000 - device, 9_500), stream=7)
    activities = built(tmp_path, t).activities
    assert activities["device"].to_list() == [0, 1, 2]
    assert activities["launch"].null_count() == 0
    assert codes(built(tmp_path, t)) == []  # overlaps of different devices are none


# --- carry-in and other notes -------------------------------------------------------------------------------------


def test_carry_in_is_what_has_no_launch_where_others_have(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.carry_in(GEMM, 0, 3_000)
    t.launch(GEMM, at=1_000, call_ns=10, kernel=(5_000, 6_000))
    trace = built(tmp_path, t)
    assert trace.activities["carry_in"].to_list() == [True, False]
    assert [n.message for n in trace.notes] == [
        "1 device activities (75.0% of device time) have no launch in this trace: carry-in, launched before "
        "recording began (or their launch was lost)"
    ]


def test_without_any_link_nothing_is_carried_in(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.carry_in(GEMM, 0, 3_000)
    t.carry_in(GEMM, 4_000, 5_000)
    trace = built(tmp_path, t)
    assert trace.activities["carry_in"].to_list() == [False, False]
    assert codes(trace) == ["MM-N003"]


def test_a_trace_of_the_host_alone(tmp_path: Path) -> None:
    t = TraceBuilder("cpu")
    t.op("aten::mm", 0, 10)
    assert codes(built(tmp_path, t)) == ["MM-N004"]


def test_overlaps_on_one_stream_are_counted(tmp_path: Path) -> None:
    spans = [(0, 100, 7), (10, 20, 7), (30, 40, 7), (40, 120, 7), (120, 130, 7), (125, 126, 8)]
    events = [
        complete("kernel", "k", start, end - start, device=0, stream=stream)
        for start, end, stream in spans
    ]
    trace = load_events(tmp_path, events)
    assert counts(trace) == {"MM-N006": 3}  # the three that start before 100


def test_a_start_before_the_launch_is_counted_and_not_an_early_start_in_it(tmp_path: Path) -> None:
    calls = [
        complete("cuda_runtime", "cudaLaunchKernel", 100, 50, correlation=n) for n in (1, 2, 3)
    ]
    starts = {1: 99.999, 2: 100, 3: 120}
    kernels = [
        complete("kernel", "k", ts, 0.001, correlation=n, stream=n) for n, ts in starts.items()
    ]
    assert counts(load_events(tmp_path, calls + kernels)) == {"MM-N007": 1}


def test_activities_at_time_zero_are_counted_where_times_are_real(tmp_path: Path) -> None:
    lost = [
        complete("kernel", "k", 0.000, 0.000, stream=7),
        complete("kernel", "k", 0, 3, stream=8),
    ]
    real = complete("kernel", "k", 6_520_430_064_204.583, 2, stream=7)
    assert counts(load_events(tmp_path, [*lost, real])) == {"MM-N018": 2}
    by_hand = complete("kernel", "k", 10, 3, stream=7)
    assert counts(load_events(tmp_path, [*lost, by_hand])) == {}


def test_events_that_cross_are_counted(tmp_path: Path) -> None:
    spans = [(0, 100), (50, 120), (60, 130), (200, 300), (210, 220)]
    events = [
        complete("cpu_op", f"op{at}", start, end - start) for at, (start, end) in enumerate(spans)
    ]
    trace = load_events(tmp_path, events)
    assert trace.host["end_ns"].to_list() == [100_000, 100_000, 100_000, 300_000, 220_000]
    assert counts(trace) == {"MM-N005": 2}


# --- synchronisation, memory, threads -----------------------------------------------------------------------------


def test_synchronisation_records_keep_what_they_wait_for(tmp_path: Path) -> None:
    syncs = built(tmp_path, rich()).syncs
    columns = ("name", "device", "stream", "wait_on_stream")
    assert syncs.select(columns).rows() == [("Stream Wait Event", 0, 20, 7)]
    assert syncs["correlation"][0] > syncs["wait_on_correlation"][0] > 0


@pytest.mark.parametrize("style", ["kineto", "python_export"])
def test_memory_events_keep_address_and_size(tmp_path: Path, style: str) -> None:
    memory = load(rich().write(tmp_path / "trace.json", style=style)).memory  # type: ignore[arg-type]
    assert memory["bytes"].to_list() == [512, -512]
    assert memory["address"].n_unique() == 1
    assert memory["total_allocated"].to_list() == [512, 0]


def test_threads_have_their_names(tmp_path: Path) -> None:
    trace = built(tmp_path, rich())
    named = dict(trace.threads.select("tid", "name").rows())
    assert named["99"] == "thread 99"
    main = trace.host.filter(pl.col("name") == "aten::linear")["thread"][0]
    assert trace.threads.filter(pl.col("thread") == main)["name"][0].startswith("thread ")
