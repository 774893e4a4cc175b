"""Annotated traces as files: the original's bytes, the format's rules, the same analysis afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.builder import TraceBuilder
from fixtures.layouts import LAYOUTS, Style
from fixtures.planted import GEMM, sync
from mmprof.analyzers.analyze import Options, analyze_trace
from mmprof.analyzers.annotated import (
    Document,
    aligned,
    annotated_document,
    joined_document,
    merged,
    recorded,
)
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.cli.trace_file import write_trace
from tests.annotated.trace_rules import broken_rules, nanoseconds, read_document, tracks_of

DEVICE = "mmprof: device 0 of rank 0"
REAL = (
    "hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz",
    "hta/critical_path/alexnet/benchmark_result_2869224_1695835535_trace.json.gz",
    "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
)


def annotate(path: Path, output: Path, **options: Any) -> Path:
    write_trace(annotated_document(recorded(load(path)), **options), output, force=False)
    return output


def join(document: Document, output: Path) -> dict[str, Any]:
    write_trace(document, output, force=False)
    return read_document(output)


def results(path: Path) -> list[Any]:
    return analyze_trace(load(path), Options())


def two_kernels(rank: int = 0, *, gap_ns: int = 2_000, origin_ns: int = 10**18) -> TraceBuilder:
    t = TraceBuilder(rank=rank, origin_ns=origin_ns)
    t.distributed(2)
    with t.annotation("mmprof:decode[0]", 0, 4_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 5_000))
    with t.annotation("mmprof:decode[1]", 4_000, 9_000):
        t.launch(GEMM, at=5_000, call_ns=1_000, kernel=(5_000 + gap_ns, 9_000 + gap_ns))
    return t


def test_the_text_of_the_trace_is_kept_byte_for_byte(tmp_path: Path) -> None:
    original = sync()[0].write(tmp_path / "trace.json")

    text = annotate(original, tmp_path / "annotated.json").read_bytes()

    before, bracket, after = original.read_bytes().rpartition(b"]")
    assert text.startswith(before.rstrip())
    assert text.endswith(bracket + after)


@pytest.mark.parametrize("style", LAYOUTS)
def test_every_layout_is_analyzed_as_before(style: Style, tmp_path: Path) -> None:
    original = sync()[0].write(tmp_path / "trace.json", style=style)

    output = annotate(original, tmp_path / "annotated.json")

    assert results(output) == results(original)
    document = json.loads(output.read_bytes())
    events = document if style == "bare_array" else document["traceEvents"]
    assert broken_rules({"traceEvents": events}) == []


@pytest.mark.parametrize("name", REAL)
def test_real_traces_are_analyzed_as_before(name: str, shared_traces: Path, tmp_path: Path) -> None:
    original = shared_traces / name

    output = annotate(original, tmp_path / "annotated.json.gz")

    assert results(output) == results(original)
    assert broken_rules(read_document(output)) == []


def test_loading_says_that_it_ignored_the_tracks(tmp_path: Path) -> None:
    original = two_kernels().write(tmp_path / "trace.json")

    notes = load(annotate(original, tmp_path / "annotated.json")).notes

    assert [n.message for n in notes if n not in load(original).notes] == [
        "9 events are tracks that `mmprof export` added; they were ignored"
    ]


def test_the_tracks_of_a_device_are_a_process_of_its_own(tmp_path: Path) -> None:
    original = two_kernels().write(tmp_path / "trace.json")

    events = read_document(annotate(original, tmp_path / "annotated.json"))["traceEvents"]

    tracks = tracks_of(events)
    others = {e["pid"] for e in events if e.get("cat") != "mmprof"}
    assert list(tracks) == [
        (DEVICE, track) for track in ("phases", "classes", "idle causes", "bounds")
    ]
    assert {e["pid"] for spans in tracks.values() for e in spans}.isdisjoint(others)
    assert [(e["name"], e["args"]["idle_ns"]) for e in tracks[DEVICE, "phases"]] == [
        ("decode[0]", 0),
        ("other", 2_000),
        ("decode[1]", 0),
    ]


def test_a_process_with_the_number_of_the_tracks_moves_them(tmp_path: Path) -> None:
    t = two_kernels()
    t.launch(GEMM, at=7_000, call_ns=1_000, kernel=(12_000, 13_000))
    text = t.text().replace('"pid": 4242,', '"pid": 4194305,')
    original = tmp_path / "trace.json"
    original.write_text(text)

    events = read_document(annotate(original, tmp_path / "annotated.json"))["traceEvents"]

    assert {e["pid"] for spans in tracks_of(events).values() for e in spans} == {4194306}


def test_times_of_16_digits_keep_their_nanoseconds(tmp_path: Path) -> None:
    t = TraceBuilder(origin_ns=1_776_000_000_123_456_789)
    t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_001, 3_004))
    original = t.write(tmp_path / "trace.json", style="absolute_ns")

    events = read_document(annotate(original, tmp_path / "annotated.json"))["traceEvents"]

    (span,) = tracks_of(events)[DEVICE, "classes"]
    assert (str(span["ts"]), str(span["dur"])) == ("1776000000123458.790", "1.003")


def test_tracks_alone_are_on_the_clock_of_the_trace(tmp_path: Path) -> None:
    original = two_kernels().write(tmp_path / "trace.json")
    whole = read_document(annotate(original, tmp_path / "annotated.json"))

    alone = read_document(annotate(original, tmp_path / "tracks.json", tracks_only=True))

    assert tracks_of(alone["traceEvents"]) == tracks_of(whole["traceEvents"])
    assert {e["cat"] for e in alone["traceEvents"]} == {"mmprof"}
    assert alone["baseTimeNanoseconds"] == whole["baseTimeNanoseconds"]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = '"}],\n<script>\u202e\x1b[2J' + "x" * 5_000
    t = TraceBuilder()
    t.launch(name, at=0, call_ns=1_000, kernel=(2_000, 3_000))

    document = read_document(annotate(t.write(tmp_path / "trace.json"), tmp_path / "a.json"))

    (span,) = tracks_of(document["traceEvents"])[DEVICE, "classes"]
    assert span["args"]["first"] == name[:300]


def cut_off(text: bytes) -> bytes:
    return text[: text.rindex(b'"dur"')]


def unescaped(text: bytes) -> bytes:
    return text.replace(b'"aten::mm"', b'"aten::\\mm"')


def unreadable(text: bytes) -> bytes:
    return text.replace(b'"traceEvents": [', b'"traceEvents": [{"ph": "X", "name": "a"b"c"},')


@pytest.mark.parametrize(("damage", "left_out"), [(cut_off, 1), (unescaped, 0), (unreadable, 1)])
def test_damaged_files_become_whole(
    damage: Callable[[bytes], bytes], left_out: int, tmp_path: Path
) -> None:
    original = tmp_path / "trace.json"
    damaged = damage(sync()[0].text().encode())
    assert damaged != sync()[0].text().encode()
    original.write_bytes(damaged)
    document = annotated_document(recorded(load(original)))

    found = join(document, tmp_path / "annotated.json")

    assert broken_rules(found) == []
    assert document.left_out == left_out
    before, after = results(original)[0], results(tmp_path / "annotated.json")[0]
    assert after.results["timeline"] == before.results["timeline"]
    assert after.results["classes"] == before.results["classes"]


def test_an_event_list_larger_than_a_piece(tmp_path: Path) -> None:
    """Names with what looks like the border between two events: a piece may end inside one."""
    t = TraceBuilder()
    for at in range(3):
        t.op(("x" * 60_000 + "}, {") * 25, at * 1_000, at * 1_000 + 500)
    t.launch(GEMM, at=5_000, call_ns=1_000, kernel=(7_000, 8_000))
    original = t.write(tmp_path / "trace.json")

    output = annotate(original, tmp_path / "annotated.json")

    before, _, _ = original.read_bytes().rpartition(b"]")
    assert output.read_bytes().startswith(before.rstrip())


def test_two_sides_begin_at_the_same_instant(tmp_path: Path) -> None:
    before = recorded(load(two_kernels(gap_ns=2_000).write(tmp_path / "a.json")))
    slower = two_kernels(gap_ns=7_000, origin_ns=2 * 10**18)
    after = recorded(load(slower.write(tmp_path / "b.json")))

    document = join(joined_document(aligned([before], [after])), tmp_path / "both.json")

    assert broken_rules(document) == []
    tracks = tracks_of(document["traceEvents"])
    classes = {name: tracks[f"{name} | {DEVICE}", "classes"] for name in ("before", "after")}
    assert {name: [nanoseconds(e) for e in spans] for name, spans in classes.items()} == {
        "before": [(3_000, 5_000), (7_000, 11_000)],
        "after": [(3_000, 5_000), (12_000, 16_000)],
    }
    kernels = [e for e in document["traceEvents"] if e.get("cat") == "kernel"]
    assert [nanoseconds(e)[0] for e in kernels] == [3_000, 7_000, 3_000, 12_000]


def test_sides_share_no_process_and_no_flow(tmp_path: Path) -> None:
    trace = recorded(load(two_kernels().write(tmp_path / "a.json")))

    events = join(joined_document(aligned([trace], [trace])), tmp_path / "both.json")["traceEvents"]

    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert len(names) == len(set(names.values()))
    assert {
        f"{s} | {p}" for s in ("before", "after") for p in (DEVICE, "GPU 0", "process 4242")
    } <= {*names.values()}
    flows = [(e["id"], names[e["pid"]].partition(" ")[0]) for e in events if e.get("cat") == "ac2g"]
    assert len(flows) == 8
    assert len({number for number, _ in flows}) == len(set(flows)) == 4


def test_arrows_lead_from_each_phase_to_its_counterpart(tmp_path: Path) -> None:
    before = recorded(load(two_kernels(gap_ns=2_000).write(tmp_path / "a.json")))
    after = recorded(load(two_kernels(gap_ns=7_000).write(tmp_path / "b.json")))

    events = join(joined_document(aligned([before], [after])), tmp_path / "both.json")[
        "traceEvents"
    ]

    arrows = [e for e in events if e.get("cat") == "mmprof" and e["ph"] in {"s", "f"}]
    assert [(e["ph"], e["name"], int(e["ts"])) for e in arrows] == [
        ("s", "decode[0]", 3),
        ("f", "decode[0]", 3),
        ("s", "decode[1]", 7),
        ("f", "decode[1]", 12),
    ]


def test_ranks_stand_on_one_clock(tmp_path: Path) -> None:
    """The second rank began in a later interval of the base time, half a microsecond later."""
    border = 228 * 7_889_238 * 10**9
    ranks = [
        two_kernels(rank, origin_ns=border - 500 + 1_000 * rank).write(tmp_path / f"{rank}.json")
        for rank in (0, 1)
    ]
    placed = merged([recorded(load(path)) for path in ranks])

    document = join(joined_document(placed), tmp_path / "all.json")

    assert broken_rules(document) == []
    tracks = tracks_of(document["traceEvents"])
    starts = [
        nanoseconds(tracks[f"rank {r} | mmprof: device 0 of rank {r}", "classes"][0])[0]
        for r in (0, 1)
    ]
    assert starts[1] - starts[0] == 1_000
    assert starts[0] + int(document["baseTimeNanoseconds"]) == border - 500 + 3_000


def test_a_file_of_several_traces_is_not_analyzed(tmp_path: Path) -> None:
    trace = recorded(load(two_kernels().write(tmp_path / "a.json")))
    join(joined_document(aligned([trace], [trace])), tmp_path / "both.json")

    with pytest.raises(MmprofError) as caught:
        load(tmp_path / "both.json")

    assert (caught.value.code, caught.value.found) == ("MM-E010", "before, after")


def span(ts: float, dur: float, **more: object) -> dict[str, object]:
    return {
        "ph": "X",
        "cat": "mmprof",
        "name": "a",
        "pid": 1,
        "tid": 1,
        "ts": ts,
        "dur": dur,
    } | more


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([span(0, 2), span(1, 2)], "overlap"),
        ([span(-1, 1)], "negative time"),
        ([{"ph": "X", "name": "a", "ts": 0, "tid": 1, "dur": 1}], "no pid"),
        ([span(0, 2), {**span(0, 0), "ph": "s", "id": 1}], "flow 1: ['s']"),
        ([{"ph": "M", "name": "process_name", "pid": 1, "args": {}}], "no name"),
    ],
)
def test_the_rules_catch_a_broken_file(events: list[dict[str, object]], rule: str) -> None:
    (found,) = broken_rules({"traceEvents": events})

    assert found.startswith(rule)
