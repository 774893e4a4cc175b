from __future__ import annotations

import polars as pl
import pytest

from fixtures.builder import ORIGIN_NS, TraceBuilder
from fixtures.planted import ADD, GEMM
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.windows import inside, window_spans


@pytest.fixture
def trace(tmp_path) -> Trace:
    """Launches at 2, 12, 22 and 32 ms, the first three in profiler steps, two of them in decode."""
    t = TraceBuilder()
    for step in range(4):
        at = step * 10_000_000
        if step < 3:
            t.annotation(f"ProfilerStep#{step}", at, at + 10_000_000)
        if step in (1, 2):
            t.annotation("decode", at + 1_000_000, at + 9_000_000)
        t.launch(GEMM, at=at + 2_000_000, call_ns=5_000, kernel=(at + 3_000_000, at + 4_000_000))
    return load(t.write(tmp_path / "t.json"))


def selected(trace: Trace, text: str) -> list[tuple[int, int]]:
    """Spans in milliseconds since the origin."""
    origin = trace.host["start_ns"].min()
    return [
        ((a - origin) / 1e6, (b - origin) / 1e6) for a, b in window_spans(trace, text).iter_rows()
    ]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("ProfilerStep#1", [(10, 20)]),
        ("ProfilerStep", [(0, 30)]),
        ("decode", [(11, 19), (21, 29)]),
        ("decode[1]", [(21, 29)]),
        ("dec", [(11, 19), (21, 29)]),
        # time 0 is the first launch, at 2 ms
        ("10ms..25ms", [(12, 27)]),
        ("10..25", [(12, 27)]),
        ("10..25ms", [(12, 27)]),
        ("0..1500us", [(2, 3.5)]),
        ("0.01s..25ms", [(12, 27)]),
        ("500000ns..1ms", [(2.5, 3)]),
    ],
)
def test_what_a_window_selects(trace: Trace, text: str, spans: list[tuple[float, float]]) -> None:
    assert selected(trace, text) == spans


@pytest.mark.parametrize(
    ("text", "count"), [("0..", 4), ("..15ms", 2), ("0..10ms", 1), ("10ms..", 3), ("decode", 2)]
)
def test_activities_are_selected_by_their_launch(trace: Trace, text: str, count: int) -> None:
    assert len(next(views(trace, Options(window=text))).selected) == count


def test_time_zero_leaves_out_what_was_launched_before_the_recording(tmp_path) -> None:
    t = TraceBuilder()
    t.carry_in(ADD, -5_000, 1_000)
    t.launch(GEMM, at=2_000, call_ns=500, kernel=(5_000, 9_000))
    trace = load(t.write(tmp_path / "t.json"))
    (span,) = window_spans(trace, "0..1us").iter_rows()
    assert span == (trace.host["start_ns"][0], trace.host["start_ns"][0] + 1_000)


def test_a_cpu_only_trace_counts_from_its_first_operator(tmp_path) -> None:
    t = TraceBuilder("cpu")
    t.annotation("warm-up", 0, 900)
    t.op("aten::add", 1_000, 2_000)
    t.op("aten::mul", 5_000, 6_000)
    trace = load(t.write(tmp_path / "t.json"))
    view = next(views(trace, Options(window="0..3us")))
    assert view.selected["name"].cast(pl.String).to_list() == ["aten::add"]


def test_an_annotation_may_be_named_like_a_range(tmp_path) -> None:
    t = TraceBuilder("cpu")
    t.annotation("1..2", 10, 90)
    t.op("aten::add", 20, 30)
    assert selected(load(t.write(tmp_path / "t.json")), "1..2") == [(0, 80 / 1e6)]


@pytest.mark.parametrize(
    "text", ["10ms..5ms", "..", "5..5", "10m..20m", "a..b", "1e3..2e3", "99s.."]
)
def test_a_malformed_range_says_what_a_range_is(trace: Trace, text: str) -> None:
    with pytest.raises(MmprofError) as caught:
        window_spans(trace, text)
    assert caught.value.code == "MM-E021"
    assert "10ms..25ms" in caught.value.hint


def test_a_name_that_is_not_there_is_answered_with_those_that_are(trace: Trace) -> None:
    with pytest.raises(MmprofError) as caught:
        window_spans(trace, "decoed")
    assert caught.value.code == "MM-E020"
    assert caught.value.found == "decode, ProfilerStep#0, ProfilerStep#1, ProfilerStep#2"
    assert caught.value.hint == "did you mean 'decode'?"


@pytest.mark.parametrize("text", ["", "decode[2]"])
def test_nothing_is_selected_by_an_empty_name_or_an_instance_too_many(
    trace: Trace, text: str
) -> None:
    with pytest.raises(MmprofError, match="no phase or annotation") as caught:
        window_spans(trace, text)
    assert caught.value.code == "MM-E020"


def test_a_number_is_never_a_part_of_another(tmp_path) -> None:
    t = TraceBuilder("cpu")
    for step in (10, 11):
        t.annotation(f"ProfilerStep#{step}", step * 100, step * 100 + 90)
    t.annotation("layer2 (attention)", 2_000, 2_010)
    t.op("aten::add", 1_000, 1_010)
    trace = load(t.write(tmp_path / "t.json"))
    with pytest.raises(MmprofError) as caught:
        window_spans(trace, "ProfilerStep#1")
    assert caught.value.code == "MM-E020"
    assert len(window_spans(trace, "ProfilerStep#")) == 2
    assert len(window_spans(trace, "layer2")) == 1


def test_only_eight_names_are_shown(tmp_path) -> None:
    t = TraceBuilder("cpu")
    for i in range(20):
        t.annotation(f"region {i:02}", i * 100, i * 100 + 90)
    t.op("aten::add", 2_000, 2_010)
    with pytest.raises(MmprofError) as caught:
        window_spans(load(t.write(tmp_path / "t.json")), "step")
    assert caught.value.found == ", ".join(f"region {i:02}" for i in range(8)) + ", ..."


def test_a_span_holds_its_start_and_not_its_end() -> None:
    spans = pl.DataFrame({"start_ns": [10, 30], "end_ns": [20, 40]})
    times = pl.Series([9, 10, 19, 20, 30, 39, 40])
    assert inside(spans, times).to_list() == [False, True, True, False, True, True, False]
    assert inside(spans.clear(), times).to_list() == [False] * 7


def test_spans_are_on_the_clock_of_the_trace(trace: Trace) -> None:
    (span,) = window_spans(trace, "ProfilerStep#0").iter_rows()
    base = trace.metadata["baseTimeNanoseconds"]
    assert span[0] in (ORIGIN_NS, ORIGIN_NS - base)
