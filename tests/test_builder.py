"""The builder of synthetic traces: exact times in every layout, links as a profiler makes them, planted answers."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

import pytest
import zstandard

from fixtures.build import FOLDER, SHIPPED
from fixtures.builder import HOST_PID, ORIGIN_NS, TraceBuilder
from fixtures.events import ACTIVITIES, Event
from fixtures.layouts import Style, base_ns
from fixtures.planted import CAUSES, PLANTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fixtures.planted import Planted

ChromeEvent = dict[str, Any]
STYLES: tuple[Style, ...] = get_args(Style)
RELATIVE: tuple[Style, ...] = (
    "kineto",
    "metadata_after",
    "bare_array",
    "python_export",
    "cupti_monitor",
)
WHOLE: tuple[Style, ...] = ("microseconds", "legacy_2021")


def small() -> TraceBuilder:
    """An operator [5_007, 9_100] ns with a kernel [9_050, 12_000] ns: times that padding and rounding change."""
    t = TraceBuilder()
    with t.op("aten::mm", 5_007, 9_100, dims=[[64, 64], [64, 64]], types=["float", "float"]):
        t.launch("gemm", at=6_000, call_ns=3_000, kernel=(9_050, 12_000))
    return t


def events_of(text: str) -> list[ChromeEvent]:
    document = json.loads(text, parse_float=Decimal)
    return document if isinstance(document, list) else document["traceEvents"]


def written(t: TraceBuilder) -> list[ChromeEvent]:
    return events_of(t.text())


def named(events: Iterable[ChromeEvent], name: str) -> list[ChromeEvent]:
    return [event for event in events if event["name"] == name]


def only(events: Iterable[ChromeEvent], name: str) -> ChromeEvent:
    (event,) = named(events, name)
    return event


def nanoseconds(number: Decimal | int, style: Style) -> int:
    """What a written time means, by the definition of each style."""
    if style == "unpadded":
        micros, decimals = str(number).split(".")
        return int(micros) * 1000 + int(decimals)
    exact = Decimal(number) * 1000
    assert exact == int(exact)
    return int(exact)


def since_origin(event: ChromeEvent, style: Style) -> tuple[int, int]:
    """Start and duration of a written event, ns since the origin."""
    shift = ORIGIN_NS - (base_ns(ORIGIN_NS) if style in RELATIVE else 0)
    return nanoseconds(event["ts"], style) - shift, nanoseconds(event["dur"], style)


# --- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_every_style_keeps_the_times_it_can_hold(style: Style):
    events = events_of(small().text(style))
    # whole µs: start and duration are both rounded down
    op, kernel = (
        ((5_000, 4_000), (9_000, 2_000)) if style in WHOLE else ((5_007, 4_093), (9_050, 2_950))
    )
    assert since_origin(only(events, "aten::mm"), style) == op
    assert since_origin(only(events, "gemm"), style) == kernel


def test_times_are_written_with_their_digits():
    # origin 1776000000 s is 921450 s after the base; 5_007 ns after that
    assert '"ts": 921450000005.007,' in small().text("kineto")
    assert '"ts": 1776000000000005.007, "dur": 4.093' in small().text("absolute_ns")
    assert '"ts": 1776000000000005.7, "dur": 4.93' in small().text("unpadded")
    assert '"ts": 1776000000000005, "dur": 4' in small().text("microseconds")
    assert '"ts":921450000009.05,"dur":2.95,' in small().text("cupti_monitor")


def test_todays_text_is_the_document():
    t = small()
    assert json.loads(t.text(), parse_float=Decimal) == t.document()
    assert t.document()["traceEvents"] == t.events


def test_metadata_stands_before_or_after_the_events():
    def keys(style: Style) -> list[str]:
        return list(json.loads(small().text(style)))

    assert keys("kineto")[-4:] == [
        "displayTimeUnit",
        "baseTimeNanoseconds",
        "traceEvents",
        "traceName",
    ]
    assert keys("metadata_after")[-4:] == [
        "traceEvents",
        "traceName",
        "displayTimeUnit",
        "baseTimeNanoseconds",
    ]
    assert keys("absolute_ns")[-3:] == ["traceEvents", "traceName", "displayTimeUnit"]
    assert keys("legacy_2021") == ["schemaVersion", "deviceProperties", "traceEvents"]


def test_base_is_the_trimester_of_the_origin():
    # 225 x 7_889_238 s = 1_775_078_550 s, the last multiple before 1_776_000_000 s
    assert json.loads(small().text())["baseTimeNanoseconds"] == 1_775_078_550_000_000_000


def test_time_before_the_base_becomes_zero():
    t = TraceBuilder(origin_ns=base_ns(ORIGIN_NS) + 10)
    t.op("aten::mm", -20, 5)
    assert only(written(t), "aten::mm")["ts"] == 0


def test_legacy_names_of_2021():
    events = events_of(small().text("legacy_2021"))
    op, call, kernel = (only(events, name) for name in ("aten::mm", "cudaLaunchKernel", "gemm"))
    assert [event["cat"] for event in (op, call, kernel)] == ["Operator", "Runtime", "Kernel"]
    assert [event["tid"] for event in (op, call, kernel)] == [
        str(HOST_PID),
        str(HOST_PID),
        "stream 7",
    ]
    assert kernel["args"]["external id"] == op["args"]["External id"]
    assert op["args"]["Trace name"] == "PyTorch Profiler"
    assert [(flow["ph"], flow["cat"]) for flow in named(events, "launch")] == [
        ("s", "async"),
        ("f", "async"),
    ]


def test_python_export_makes_spans_of_instants_and_writes_an_event_a_line():
    t = small()
    t.allocate(512, at=7_000)
    text = t.text("python_export")
    memory = only(events_of(text), "[memory]")
    assert memory["ph"] == "X"
    assert since_origin(memory, "python_export") == (7_000, 6_000)  # to the window's end at 13_000
    assert all(
        json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith('{"ph"')
    )


def test_cupti_monitor_is_one_line_without_external_ids_of_calls():
    text = small().text("cupti_monitor")
    assert "\n" not in text
    assert only(events_of(text), "gemm")["args"] == {
        "device": 0,
        "context": 1,
        "stream": 7,
        "correlation": 1,
    }


@pytest.mark.parametrize(
    ("suffix", "unpack"),
    [
        (".json", bytes),
        (".json.gz", gzip.decompress),
        (".json.zst", lambda data: zstandard.ZstdDecompressor().decompress(data)),
    ],
)
def test_written_file_unpacks_to_the_text(
    tmp_path: Path, suffix: str, unpack: Callable[[bytes], bytes]
):
    first = small().write(tmp_path / f"a{suffix}").read_bytes()
    assert unpack(first) == small().text().encode()
    assert first == small().write(tmp_path / f"b{suffix}").read_bytes()


# --- links --------------------------------------------------------------------------------------------------------


def test_launch_and_kernel_share_ids_and_a_flow():
    events = written(small())
    op, call, kernel = (only(events, name) for name in ("aten::mm", "cudaLaunchKernel", "gemm"))
    assert call["args"] == {"External id": 1, "cbid": 211, "correlation": 1}
    assert kernel["args"]["External id"] == op["args"]["External id"] == 1
    assert kernel["args"]["correlation"] == 1
    assert (kernel["pid"], kernel["tid"]) == (0, 7)
    assert [(flow["ph"], flow["id"], flow["pid"]) for flow in named(events, "ac2g")] == [
        ("s", 1, HOST_PID),
        ("f", 1, 0),
    ]


def test_call_outside_every_operator_has_no_external_id():
    t = TraceBuilder()
    t.call("cudaDeviceSynchronize", 0, 10)
    assert only(written(t), "cudaDeviceSynchronize")["args"] == {"cbid": 165, "correlation": 1}


def test_innermost_operator_of_the_same_thread_is_linked():
    t = TraceBuilder()
    with t.op("aten::linear", 0, 100), t.op("aten::mm", 10, 90):
        t.launch("gemm", at=20, call_ns=5, kernel=(30, 40))
    with t.thread(77):
        t.op("autograd", 0, 100)
    assert (
        only(written(t), "gemm")["args"]["External id"]
        == only(written(t), "aten::mm")["args"]["External id"]
    )
    assert only(written(t), "autograd")["tid"] == 77


def test_python_frames_know_their_parent():
    t = TraceBuilder()
    with t.python("a.py(1): main", 0, 100), t.module("Linear_3", 10, 90):
        t.op("aten::linear", 20, 80)
    main, module = (
        only(written(t), name)["args"] for name in ("a.py(1): main", "nn.Module: Linear_3")
    )
    assert main == {"Python parent id": None, "Python id": 1}
    assert module == {"Python parent id": 1, "Python id": 2, "Python module id": 3}
    assert t.document()["with_stack"] == 1


def test_graph_kernels_share_one_correlation_and_have_no_external_id():
    t = TraceBuilder()
    with t.op("replay", 0, 50):
        t.graph_launch(at=5, call_ns=10, kernels=[("a", 20, 30), ("b", 31, 40)])
    kernels = [only(written(t), name)["args"] for name in ("a", "b")]
    assert [args["correlation"] for args in kernels] == [1, 1]
    assert [args["graph node id"] for args in kernels] == [1, 2]
    assert not any("External id" in args for args in kernels)


def test_annotation_has_a_span_on_the_device():
    t = TraceBuilder()
    with t.annotation("decode", 0, 1_000):
        t.launch("a", at=100, call_ns=10, kernel=(2_000, 3_000))
        t.launch("b", at=200, call_ns=10, kernel=(4_000, 5_000))
    t.launch("c", at=1_500, call_ns=10, kernel=(6_000, 7_000))
    (span,) = [event for event in written(t) if event.get("cat") == "gpu_user_annotation"]
    assert span["name"] == "decode"
    assert since_origin(span, "kineto") == (
        1_999,
        3_002,
    )  # [2_000, 5_000], a nanosecond wider on each side


def test_carry_in_has_no_call():
    t = small()
    t.carry_in("old", -500, 100)
    calls = {
        event["args"]["correlation"] for event in written(t) if event.get("cat") == "cuda_runtime"
    }
    assert only(written(t), "old")["args"]["correlation"] not in calls


def test_stream_wait_names_the_recorded_event():
    t = TraceBuilder()
    recorded = t.record_event(0, 10, stream=7)
    t.stream_wait(recorded, 20, 30, stream=20)
    wait = only(written(t), "Stream Wait Event")
    assert (wait["cat"], wait["tid"]) == ("cuda_sync", 20)
    assert wait["args"]["wait_on_stream"] == 7
    assert wait["args"]["wait_on_cuda_event_record_corr_id"] == recorded.correlation


def test_memory_keeps_a_ledger():
    t = TraceBuilder()
    first = t.allocate(3 * 1024 * 1024, at=0)
    t.allocate(1024, at=1)
    t.free(first, at=2)
    memory = [event["args"] for event in named(written(t), "[memory]")]
    assert [args["Bytes"] for args in memory] == [3_145_728, 1_024, -3_145_728]
    assert [args["Total Allocated"] for args in memory] == [3_145_728, 3_146_752, 1_024]
    assert {args["Total Reserved"] for args in memory} == {4_194_304}  # two segments of 2 MiB


def test_occupancy_follows_from_the_launch_shape():
    t = TraceBuilder()
    t.launch(
        "k", at=0, call_ns=1, kernel=(2, 3), args={"grid": [17888, 1, 1], "block": [128, 1, 1]}
    )
    args = only(written(t), "k")["args"]
    # as in a recorded trace of an H100: 17888 blocks on 132 multiprocessors, 4 warps each
    assert args["blocks per SM"] == Decimal("135.515152")
    assert args["warps per SM"] == Decimal("542.060606")


def test_devices_are_listed_up_to_the_last_one_used():
    t = small()
    with t.device(1):
        t.launch("second", at=0, call_ns=1, kernel=(2, 3))
    assert only(written(t), "second")["pid"] == 1
    assert [device["id"] for device in json.loads(t.text())["deviceProperties"]] == [0, 1]


# --- platforms ----------------------------------------------------------------------------------------------------


def test_rocm_has_hip_names_and_stream_zero():
    t = TraceBuilder("rocm")
    t.launch("Cijk_gemm", at=0, call_ns=10, kernel=(20, 30))
    t.memcpy("HtoD (Pageable -> Device)", at=40, call_ns=10, copy=(60, 70), nbytes=16)
    call, kernel = only(written(t), "hipLaunchKernel"), only(written(t), "Cijk_gemm")
    assert (call["cat"], call["args"]["cid"], call["args"]["kernel"]) == (
        "cuda_runtime",
        107,
        "Cijk_gemm",
    )
    assert (kernel["tid"], kernel["args"]["kind"]) == (0, "Dispatch Kernel")
    assert "context" not in kernel["args"]
    assert only(written(t), "Memcpy HtoD (Host -> Device)")["args"]["bytes"] == 16
    assert only(written(t), "hipMemcpyAsync")["args"]["bytes"] == "16"


def test_cpu_only_has_no_device():
    t = TraceBuilder("cpu")
    t.op("aten::mm", 0, 10)
    assert t.document()["deviceProperties"] == []
    with pytest.raises(ValueError, match="no device for 'cudaLaunchKernel'"):
        t.launch("gemm", at=0, call_ns=1, kernel=(2, 3))
    assert [event.name for event in t.records] == ["aten::mm"]


def test_rank_and_flags_are_metadata():
    t = TraceBuilder(rank=3)
    t.distributed(world_size=8)
    t.metadata(trace_id="abc")
    document = t.document()
    assert document["distributedInfo"] == {
        "backend": "nccl",
        "rank": 3,
        "world_size": 8,
        "pg_count": 1,
    }
    assert document["trace_id"] == "abc"
    assert "record_shapes" not in document
    assert small().document()["record_shapes"] == 1


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_block_that_reaches_outside_its_operator_is_refused():
    t = TraceBuilder()
    with (
        pytest.raises(ValueError, match="'aten::mm' reaches outside 'aten::linear'"),
        t.op("aten::linear", 0, 50),
    ):
        t.op("aten::mm", 10, 60)


def test_end_before_start_is_refused():
    with pytest.raises(ValueError, match="ends at 5 ns, before it starts at 10 ns"):
        TraceBuilder().op("aten::mm", 10, 5)


def test_any_event_can_be_added():
    t = TraceBuilder()
    t.add(Event("hpu_op", "strange", "text pid", -1, 0, 10))
    assert only(written(t), "strange")["pid"] == "text pid"


# --- planted ------------------------------------------------------------------------------------------------------


def covered_ns(spans: list[tuple[int, int]]) -> int:
    """Length of the union: each piece between two neighbouring bounds counts once."""
    bounds = sorted({bound for span in spans for bound in span})
    pairs = pairwise(bounds)
    return sum(
        end - start for start, end in pairs if any(a <= start and end <= b for a, b in spans)
    )


def device_spans(t: TraceBuilder) -> list[tuple[int, int]]:
    """The linked activities of the trace, or all where nothing is linked."""
    calls = {event.correlation for event in t.records if event.category == "cuda_runtime"}
    activities = [event for event in t.records if event.category in ACTIVITIES]
    linked = [event for event in activities if event.correlation in calls]
    return [(event.start_ns, event.end_ns) for event in linked or activities]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_answer_adds_up(plant: Callable[[], Planted]):
    _, expected = plant()
    assert expected["window_ns"] == expected["busy_ns"] + expected["idle_ns"]
    assert sum(expected.get(cause, 0) for cause in CAUSES) == expected["idle_ns"]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_window_and_busy_are_the_traces(plant: Callable[[], Planted]):
    t, expected = plant()
    if t.platform == "cpu":
        working = {"aten::relu", "aten::addmm", "aten::add"}
        spans = [(event.start_ns, event.end_ns) for event in t.records if event.name in working]
    else:
        spans = device_spans(t)
    assert expected["busy_ns"] == covered_ns(spans)
    assert expected["window_ns"] == max(end for _, end in spans) - min(start for start, _ in spans)


def test_every_idle_cause_is_planted():
    planted = {cause for plant in PLANTED for cause in plant()[1]}
    assert planted >= set(CAUSES)


# --- shipped ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_is_what_the_builder_makes(name: str):
    # the text, not the bytes: another version of zlib packs differently
    shipped = gzip.decompress((FOLDER / name).read_bytes()).decode()
    assert shipped == SHIPPED[name]().text()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_is_small_and_says_that_it_is_synthetic(name: str):
    data = (FOLDER / name).read_bytes()
    document = json.loads(gzip.decompress(data))
    assert len(data) < 150_000
    assert len(document["traceEvents"]) <= 5_000
    assert document["mmprof_synthetic"] == 1
    assert "synthetic" in document["traceName"]


def test_demo_has_its_phases_and_waits_once_per_direction_and_step():
    events = written(SHIPPED["llama-decode-h100-synthetic.json.gz"]())
    phases = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert phases == ["prefill"] + ["decode"] * 8
    assert len(named(events, "Memcpy HtoD (Pageable -> Device)")) == 9
    assert len(named(events, "aten::item")) == 9
    assert len(named(events, "cudaStreamSynchronize")) == 18
