"""Tracks: where each span lies, worked out by hand, and that their sums are the analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM, PLANTED, Planted
from mmprof.analyzers.analyses.bounds import bounds
from mmprof.analyzers.analyses.classes import classes
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.phases import phases
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.annotated.tracks import DeviceTracks, device_tracks
from mmprof.analyzers.load import load
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.view import View
from tests.core import random_traces

ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>"
ViewOf = Callable[[TraceBuilder], View]
REAL = (
    "hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz",
    "hta/critical_path/cuda_event_sync_multi_stream/event_sync_trace.json.gz",
    "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz",
    "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
)


def spans_of(tracks: DeviceTracks, name: str) -> list[tuple[int, int, str]]:
    found = next(track.spans for track in tracks.tracks if track.name == name)
    return list(found.select("start_ns", "end_ns", pl.col("name").cast(pl.String)).iter_rows())


def from_first(spans: list[tuple[int, int, str]], origin: int) -> list[tuple[int, int, str]]:
    return [(start - origin, end - origin, name) for start, end, name in spans]


def time_by_name(tracks: DeviceTracks, track: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for start, end, name in spans_of(tracks, track):
        key = name.partition("[")[0] if track == "phases" else name
        sums[key] = sums.get(key, 0) + end - start
    return sums


def analyzed(view: View) -> dict[str, dict[str, int]]:
    """What the spans of each track must sum to."""
    found = phases(view)
    rows = {
        "classes": [(r.class_, r.time_ns) for r in classes(view).classes],
        "idle causes": [(r.cause, r.time_ns) for r in idle_causes(view).idle_causes],
        "bounds": [(r.bound, r.time_ns) for r in bounds(view).bounds],
        "phases": [(r.phase, r.time_ns) for r in found.phases],
        "steps": [(r.name, r.time_ns) for r in found.steps],
    }
    sums: dict[str, dict[str, int]] = {track: {} for track in rows}
    for track, listed in rows.items():
        for key, time_ns in listed:
            if time_ns:
                sums[track][key] = sums[track].get(key, 0) + time_ns
    return sums


def assert_sums_are_the_analysis(trace: Trace) -> None:
    for view in views(trace, Options()):
        tracks, expected = device_tracks(view), analyzed(view)
        shown = {track.name: time_by_name(tracks, track.name) for track in tracks.tracks}
        if "steps" in shown:  # the analysis has no row for what is in no step
            expected["steps"]["other"] = view.window_ns - sum(expected["steps"].values())
            shown["steps"].setdefault("other", 0)
        assert shown == {track: expected[track] for track in shown}
        assert ("classes" in shown) == ("bounds" in shown) == (view.busy_ns > 0)
        assert ("idle causes" in shown) == (view.window_ns > view.busy_ns)


def test_an_instant_has_one_class(view_of: ViewOf) -> None:
    """A linear kernel takes the time that it shares with an elementwise one."""
    t = TraceBuilder()
    t.launch(ADD, at=0, call_ns=1_000, kernel=(2_000, 10_000))
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(4_000, 6_000), stream=20)
    t.launch(GEMM, at=1_500, call_ns=500, kernel=(5_000, 7_000), stream=21)

    tracks = device_tracks(view_of(t))

    assert from_first(spans_of(tracks, "classes"), tracks.start_ns - 2_000) == [
        (2_000, 4_000, "elementwise"),
        (4_000, 7_000, "linear"),
        (7_000, 10_000, "elementwise"),
    ]


def test_a_gap_is_cut_where_its_cause_changes(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_000, 4_000))
    with t.op("aten::mm", 6_000, 20_000):
        t.launch(GEMM, at=9_000, call_ns=2_000, kernel=(14_000, 15_000))

    tracks = device_tracks(view_of(t))

    assert from_first(spans_of(tracks, "idle causes"), tracks.start_ns - 2_000) == [
        (4_000, 6_000, "python"),
        (6_000, 9_000, "dispatch"),
        (9_000, 11_000, "launch"),
        (11_000, 14_000, "queue"),
    ]


def test_a_gap_part_says_what_stood_around_the_launch(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_000, 4_000))
    t.python("model.py(12): forward", 5_000, 30_000)
    t.module("Linear_0", 5_500, 29_000)
    with t.op("aten::mm", 6_000, 20_000):
        t.launch(ADD, at=9_000, call_ns=2_000, kernel=(14_000, 15_000))
    view = view_of(t)

    idle = next(track for track in device_tracks(view).tracks if track.name == "idle causes")

    first = idle.spans.row(0, named=True)
    facts = {key: str(first[key]) for key in ("before", "operator", "module", "source")}
    assert first["gap_ns"] == 10_000
    assert view.selected.filter(pl.col("event") == first["event"])["name"].to_list() == [ADD]
    assert facts == {
        "before": ADD,
        "operator": "aten::mm",
        "module": "Linear_0",
        "source": "model.py:12 forward",
    }


def test_carry_in_inside_the_window_is_a_cause_of_its_own(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_000, 4_000))
    t.carry_in(GEMM, 5_000, 6_000)
    t.launch(GEMM, at=2_000, call_ns=1_000, kernel=(9_000, 10_000))

    tracks = device_tracks(view_of(t))

    assert from_first(spans_of(tracks, "idle causes"), tracks.start_ns - 2_000) == [
        (4_000, 5_000, "queue"),
        (5_000, 6_000, "outside"),
        (6_000, 9_000, "queue"),
    ]


def test_phases_are_the_devices_time(view_of: ViewOf) -> None:
    """Prefill owns the gap between its kernels; the gap to decode is of neither."""
    t = TraceBuilder()
    with t.annotation("mmprof:prefill", 0, 5_000):
        t.launch(GEMM, at=0, call_ns=500, kernel=(2_000, 4_000))
        t.launch(GEMM, at=1_000, call_ns=500, kernel=(6_000, 7_000))
    with t.annotation("mmprof:decode[0]", 6_000, 9_000):
        t.launch(GEMM, at=7_000, call_ns=500, kernel=(9_000, 10_000))

    tracks = device_tracks(view_of(t))

    assert from_first(spans_of(tracks, "phases"), tracks.start_ns - 2_000) == [
        (2_000, 7_000, "prefill[0]"),
        (7_000, 9_000, "other"),
        (9_000, 10_000, "decode[0]"),
    ]


def test_a_trace_without_phases_has_no_track_of_them(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=500, kernel=(2_000, 4_000))

    assert [track.name for track in device_tracks(view_of(t)).tracks] == ["classes", "bounds"]


@pytest.mark.parametrize("plant", PLANTED)
def test_sums_of_planted_traces(plant: Callable[[], Planted], tmp_path: Path) -> None:
    built = plant()[0]

    assert_sums_are_the_analysis(load(built.write(tmp_path / "trace.json")))


@settings(max_examples=15)
@given(random_traces.traces())
def test_sums_of_random_traces(events: list[random_traces.Event]) -> None:
    assert_sums_are_the_analysis(random_traces.loaded(events))


@pytest.mark.parametrize("name", REAL)
def test_sums_of_real_traces(name: str, shared_traces: Path) -> None:
    assert_sums_are_the_analysis(load(shared_traces / name, processes=0))
