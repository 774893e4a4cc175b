"""Small random traces for properties that hold for every trace, and what is asked of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mmprof.analyzers.analyses.classes import classes
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.timeline import timeline
from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.load import load
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.view import HOST_DEVICE, View

Event = dict[str, Any]

HOST_NAMES = {
    "cpu_op": (
        "aten::mm",
        "aten::item",
        "aten::add_",
        "autograd::engine::evaluate_function: MmBackward0",
    ),
    "user_annotation": (
        "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
        "ProfilerStep#3",
        "decode",
    ),
    "python_function": (
        "train.py(3): step",
        "torch/_dynamo/convert_frame.py(1): __call__",
        "nn.Module: Linear_0",
    ),
    "cuda_runtime": (
        "cudaLaunchKernel",
        "cudaStreamSynchronize",
        "cudaMalloc",
        "cudaMemcpy",
        "cudaEventRecord",
    ),
    "cuda_driver": ("cuLaunchKernel", "cuMemFree_v2"),
}
DEVICE_NAMES = {
    "kernel": (
        "ampere_sgemm_128x64_tn",
        "ncclDevKernel_AllReduce_Sum_f32",
        "vectorized_elementwise_kernel",
    ),
    "gpu_memcpy": ("Memcpy DtoH (Device -> Pageable)", "Memcpy HtoD (Pinned -> Device)"),
    "gpu_memset": ("Memset (Device)",),
}
NS = st.integers(0, 300)
LENGTH_NS = st.one_of(st.integers(0, 5), st.integers(0, 120))


def micros(time_ns: int) -> float:
    return time_ns / 1000


@st.composite
def host_events(draw: st.DrawFn) -> Event:
    category = draw(st.sampled_from(sorted(HOST_NAMES)))
    event = {
        "ph": "X",
        "cat": category,
        "name": draw(st.sampled_from(HOST_NAMES[category])),
        "pid": 1,
        "tid": draw(st.integers(1, 2)),
        "ts": micros(draw(NS)),
        "dur": micros(draw(LENGTH_NS)),
    }
    called = category.startswith("cuda")
    return event | ({"args": {"correlation": draw(st.integers(1, 8))}} if called else {})


@st.composite
def device_events(draw: st.DrawFn) -> Event:
    category = draw(st.sampled_from(sorted(DEVICE_NAMES)))
    device, stream = draw(st.integers(0, 1)), draw(st.integers(6, 8))
    args = {
        "device": device,
        "stream": stream,
        "correlation": draw(st.integers(1, 10)),
        "bytes": 64,
    }
    return {
        "ph": "X",
        "cat": category,
        "name": draw(st.sampled_from(DEVICE_NAMES[category])),
        "pid": device,
        "tid": stream,
        "ts": micros(draw(NS)),
        "dur": micros(draw(LENGTH_NS)),
        "args": args,
    }


@st.composite
def waits(draw: st.DrawFn) -> Event:
    args = {
        "stream": draw(st.integers(6, 8)),
        "device": 0,
        "wait_on_stream": 6,
        "correlation": draw(st.integers(1, 8)),
    }
    return {
        "ph": "X",
        "cat": "cuda_sync",
        "name": "Stream Wait Event",
        "pid": 0,
        "tid": 7,
        "ts": 0,
        "args": args,
    }


@st.composite
def overheads(draw: st.DrawFn) -> Event:
    times = {"ts": micros(draw(NS)), "dur": micros(draw(LENGTH_NS))}
    return {"ph": "X", "cat": "overhead", "name": "Buffer Flush", "pid": -1, "tid": 0, **times}


@st.composite
def traces(draw: st.DrawFn) -> list[Event]:
    """Some events of every kind that analyses read; at least one of the host or of a device."""
    events = [
        *draw(st.lists(host_events(), min_size=1, max_size=14)),
        *draw(st.lists(device_events(), max_size=14)),
        *draw(st.lists(waits(), max_size=3)),
        *draw(st.lists(overheads(), max_size=2)),
    ]
    return _distinct_starts(draw(st.permutations(events)))


def _distinct_starts(events: Sequence[Event]) -> list[Event]:
    """No two events start together: which contains the other would depend on their order in the file."""
    return [
        event | {"ts": micros(round(event["ts"] * 1000) * len(events) + at)}
        for at, event in enumerate(events)
    ]


def loaded(events: Sequence[Event], **options: Any) -> Trace:
    """The trace of these events, written and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        path.write_text(json.dumps({"traceEvents": list(events)}))
        return load(path, **options)


def views(trace: Trace) -> list[View]:
    """The views of all devices, or of the host where there are none."""
    host = HostWork(trace)
    return [View(trace, host, d) for d in sorted(set(trace.activities["device"])) or [HOST_DEVICE]]


def assert_adds_up(view: View) -> None:
    """Every nanosecond of the window is busy or idle once, every busy one has a class, every idle one a cause."""
    measured, classed, caused = timeline(view), classes(view), idle_causes(view)
    assert measured.busy_ns + measured.idle_ns == measured.window_ns
    assert min(measured.busy_ns, measured.idle_ns, measured.overlap_ns) >= 0
    assert sum(row.time_ns for row in classed.classes) == measured.busy_ns
    assert sum(row.time_ns for row in caused.idle_causes) == measured.idle_ns
    assert all(row.time_ns >= 0 for row in classed.classes)
    assert all(row.time_ns >= 0 for row in caused.idle_causes)
    assert all(sum(gap.causes.values()) == gap.dur_ns for gap in caused.largest_gaps)


def answers(view: View) -> dict[str, Any]:
    """The answers that may depend on nothing but the trace's times, names and links."""
    measured, classed, caused = timeline(view), classes(view), idle_causes(view)
    return {
        "device": view.device,
        "window_ns": measured.window_ns,
        "busy_ns": measured.busy_ns,
        "overlap_ns": measured.overlap_ns,
        "carry_in": measured.carry_in,
        "classes": {row.class_: (row.time_ns, row.sum_ns, row.count) for row in classed.classes},
        "causes": {
            row.cause: (row.time_ns, row.gaps, row.longest_ns) for row in caused.idle_causes
        },
    }
