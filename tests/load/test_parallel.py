"""Blocks and processes are a matter of speed: where a trace is cut, and who reads it, never shows in its tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from loaded import assert_same, complete, counts, load_events, load_text, rich

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import layout, load, parallel

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.layouts import Style

TRAPS: Final = (
    "},\n  {",
    "}, {",
    "} , {",
    '"}, {"ph": "X"',
    '\\", }, {',
    "}]}, [{",
    '"traceEvents": [',
    "\u2028}\n,\n{",
)


def trapped() -> list[dict[str, Any]]:
    """Events whose names and arguments look like the places where a trace may be cut."""
    ops = [complete("cpu_op", f"{trap}#{at}", 10 * at, 5) for at, trap in enumerate(TRAPS)]
    lists = [{"l": [{"a": 1}, {"b": [{"c": 2}, {"d": trap}]}]} for trap in TRAPS]
    nested = [
        complete("cpu_op", f"nested#{at}", 200 + 10 * at, 5, **args)
        for at, args in enumerate(lists)
    ]
    return [event for pair in zip(ops, nested, strict=True) for event in pair]


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fragments and blocks of a few bytes, so that a small trace is cut everywhere."""
    fragment, block = request.param
    monkeypatch.setattr(layout, "SUPER_BLOCK_BYTES", fragment)
    monkeypatch.setattr(layout.blocks, "__defaults__", (block,))


SIZES: Final = [(1, 1), (40, 10), (97, 31), (256, 64), (1000, 100), (1 << 22, 50)]


@pytest.mark.parametrize("tiny_blocks", SIZES, indirect=True)
@pytest.mark.parametrize("style", ["kineto", "bare_array", "python_export", "cupti_monitor"])
def test_cuts_between_events_do_not_show(
    tmp_path: Path, style: Style, tiny_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rich().write(tmp_path / "trace.json", style=style)
    cut = load(path)
    monkeypatch.undo()
    assert_same(load(path), cut)


@pytest.mark.parametrize("tiny_blocks", SIZES, indirect=True)
@pytest.mark.parametrize("separator", [",\n", ",", " , "])
def test_cuts_inside_names_and_arguments_are_mended(
    tmp_path: Path, separator: str, tiny_blocks: None
) -> None:
    texts = [json.dumps(event, ensure_ascii=False) for event in trapped()]
    trace = load_text(tmp_path, '{"traceEvents": [' + separator.join(texts) + "]}")
    assert trace.host.sort("event")["name"].to_list() == [event["name"] for event in trapped()]
    assert counts(trace) == {}


@pytest.mark.parametrize("tiny_blocks", SIZES, indirect=True)
def test_damage_costs_the_damaged_event_alone_wherever_it_is_cut(
    tmp_path: Path, tiny_blocks: None
) -> None:
    good = [json.dumps(complete("cpu_op", f"op{at}", 10 * at, 5)) for at in range(12)]
    damaged = good[:]
    damaged[3] = damaged[3].replace('"op3"', '"op"3"')  # an unescaped quote
    damaged[7] = damaged[7].replace('"op7"', '"op\\q7"')  # a bad escape, which can be mended
    trace = load_text(tmp_path, '{"traceEvents": [' + ", ".join(damaged) + "]}")
    assert trace.host.sort("event")["event"].to_list() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert trace.host.sort("event")["name"][6] == "op\\q7"
    assert counts(trace) == {"MM-N014": 1, "MM-N015": 1}


# --- processes ----------------------------------------------------------------------------------------------------

STEPS: Final = 12_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 MB, three fragments: many events, one of 6 MB, a name of 1 MB, damage, traps and a truncated end."""
    events: list[str] = []
    for at in range(STEPS):
        launch = complete("cuda_runtime", "cudaLaunchKernel", 100 * at + 5, 10, correlation=at + 1)
        kernel = complete(
            "kernel", f"k{at % 7}", 100 * at + 30, 40, correlation=at + 1, device=at % 2, stream=7
        )
        events += [
            json.dumps(complete("cpu_op", f"op{at % 5}", 100 * at, 90)),
            json.dumps(launch),
            json.dumps(kernel),
        ]
    inner = [{"a": n, "t": TRAPS[n % len(TRAPS)]} for n in range(200_000)]
    events.insert(9_001, json.dumps(complete("cpu_op", "huge", 7, 1, l=inner)))
    events.insert(17, json.dumps(complete("cpu_op", "long " * 200_000, 3, 1)))
    events.insert(20_000, '{"ph": "X", "name": "never closed')
    events.insert(12_000, json.dumps(complete("cpu_op", "q", 1, 1)).replace('"q"', '"a\\qb"'))
    events[100:100] = [json.dumps(event) for event in trapped()]
    path = tmp_path_factory.mktemp("large") / "trace.json"
    path.write_text('{"traceEvents": [' + ",\n".join(events), encoding="utf-8")
    assert path.stat().st_size > 2.5 * layout.SUPER_BLOCK_BYTES
    return path


@pytest.fixture(scope="module")
def alone(large: Path) -> Any:
    return load(large, processes=0)


def test_one_process_reads_all_but_the_damaged_event(alone: Any) -> None:
    whole = 3 * STEPS + 3 + len(trapped())
    assert (
        len(alone.host) + len(alone.activities) == whole - 1
    )  # the event that is never closed takes the next along
    assert {"huge", "a\\qb"} <= set(alone.host["name"].cast(str).unique())
    assert counts(alone) == {"MM-N014": 1, "MM-N015": 1}
    assert alone.notes[0].code == "MM-N001"


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_do_not_show(large: Path, alone: Any, processes: int) -> None:
    shared = load(large, processes=processes)
    assert_same(alone, shared)
    assert alone.facts == shared.facts
    assert alone.kept_out == shared.kept_out


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_more_processes_than_fragments(tmp_path: Path, processes: int) -> None:
    path = rich().write(tmp_path / "trace.json.gz")
    assert_same(load(path, processes=0), load(path, processes=processes))


def test_an_error_in_a_process_is_the_error_of_the_load(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text('{"traceEvents": []}')
    with pytest.raises(MmprofError) as caught:
        load(tmp_path / "none.json", processes=2)
    assert caught.value.code == "MM-E005"


def test_ids_beyond_64_bits_cross_processes(tmp_path: Path) -> None:
    event = complete("cpu_op", "op", 1, 1) | {"pid": 10**30, "tid": -(10**25)}
    one, two = (load_events(tmp_path, [event], processes=n) for n in (0, 1))
    assert_same(one, two)
    assert one.threads.select("pid", "tid").rows() == [(str(10**30), str(-(10**25)))]


@pytest.mark.parametrize("odd", ["0.0015", "2.00049", "-3", "1e16", "null", '"7"', None])
def test_durations_that_have_to_be_read_one_by_one(tmp_path: Path, odd: str | None) -> None:
    plain = [json.dumps(complete("cpu_op", "op", at, 1.25)) for at in range(4)]
    without = {k: v for k, v in complete("cpu_op", "odd", 9, 0).items() if k != "dur"}
    event = json.dumps(without) if odd is None else json.dumps({**without, "dur": 0})
    text = event if odd is None else event.replace('"dur": 0', f'"dur": {odd}')
    (tmp_path / "t.json").write_text('{"traceEvents": [' + ",\n".join([*plain, text]) + "]}")
    one, two = (load(tmp_path / "t.json", processes=n) for n in (0, 1))
    assert_same(one, two)
    assert one.host["dur_ns"].to_list()[:4] == [1250] * 4


def test_without_a_working_process_the_trace_is_read_alone(
    large: Path, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_WORKER", "raise SystemExit")
    assert_same(alone, load(large, processes=2))


def test_a_process_that_dies_halfway_costs_nothing(
    large: Path, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = "import os, sys; os.read(0, 1 << 20); os.write(1, b'x' * 5)"
    monkeypatch.setattr(parallel, "_WORKER", dies)
    assert_same(alone, load(large, processes=2))
