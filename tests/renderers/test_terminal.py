"""The screen: exact text, its size, and what it must never contain."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import Report, analyze
from mmprof.analyzers.findings import Gain
from mmprof.analyzers.registry import tables
from mmprof.cli.renderers import RenderOptions, renderers
from mmprof.cli.renderers.headline import first_step, headline, top_steps, worst
from mmprof.cli.renderers.safe import columns_of
from mmprof.cli.renderers.screen.bar import proportional
from tests.renderers.conftest import build

GOLDEN = Path(__file__).parent / "golden"
DEMO = Path(__file__).parents[2] / "fixtures" / "llama-decode-h100-synthetic.json.gz"
SCREEN_LINES = 48
SGR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = [
    "[bold red]x[/bold red]",
    "[link=http://evil]x[/link]",
    "\x1b[31mred\x1b]8;;http://evil\x1b\\",
    "a\nb\r\n",
    "\u202egnp",
    "\udc80",
    "矩" * 300,
    "k<" * 3000,
    "x" * 1_000_000,
    ":smile:",
    "{0} %s",
    "",
]


def draw(report: Report, **options: object) -> str:
    chosen = RenderOptions(**{"encoding": "utf-8", **options})  # type: ignore[arg-type]
    return renderers()["terminal"].render(report, chosen)


def assert_golden(text: str, name: str) -> None:
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [100, 80])
def test_the_overview_is_exactly_this(report: Report, width: int) -> None:
    assert_golden(draw(report, width=width), f"overview-{width}.txt")


def test_the_overview_in_ascii_is_exactly_this(report: Report) -> None:
    text = draw(report, width=60, encoding="ascii", color=False)
    assert text.isascii()
    assert_golden(text, "overview-60-ascii.txt")


def test_several_ranks_are_exactly_this(ranks: Report) -> None:
    device = replace(worst(ranks), findings=())
    others = tuple(device if d.rank == device.rank else d for d in ranks.devices)
    assert_golden(draw(replace(ranks, devices=others), width=100), "ranks-100.txt")


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_nothing_is_not_what_was_expected(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_golden("", name)


def test_the_headline_says_what_an_expert_would(report: Report) -> None:
    assert headline(report.devices[0]) == (
        "NVIDIA H100 80GB HBM3: busy 83.9 % of 62.0 us; idle 16.1 %, mostly queue (6.5 %). "
        "Linear takes 76.9 % of busy time and is latency-bound (too little work per kernel). "
        "First try cuda graphs (MM101): at most 1.15x."
    )


def test_what_is_severe_comes_before_what_gains_more(report: Report) -> None:
    found = report.devices[0].findings
    unexplained = msgspec.structs.replace(
        found[1],
        severity="high",
        gain=Gain(1.0, 1.0, 1.0),
        title="611 ms (49.7 %) are unexplained, of 1.23 s",
    )
    assert [f.severity for f in top_steps((*found, unexplained))] == ["high", "medium", "low"]
    assert first_step((*found, unexplained)) == (
        "First look at MM114: 611 ms (49.7 %) are unexplained."
    )
    assert first_step(found) == "First try cuda graphs (MM101): at most 1.15x."
    assert first_step(found[1:]) == ""


def test_the_worst_device_is_the_one_that_loses_most_time(ranks: Report) -> None:
    assert worst(ranks).rank == 7


@pytest.mark.parametrize("width", [40, 53, 80, 100, 140])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_no_line_is_longer_than_the_screen(
    report: Report, ranks: Report, width: int, encoding: str
) -> None:
    for shown in (report, ranks):
        for by in ("", "op", "kernel", "gap"):
            text = draw(shown, width=width, encoding=encoding, by=by)
            text.encode(encoding)
            assert max(map(columns_of, text.splitlines())) <= width


def test_no_colour_means_no_escape_sequence(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in draw(report)


def test_colour_changes_nothing_but_colour_and_the_marks(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    colored = draw(report, color=True)
    assert "\x1b[" in colored
    plain = SGR.sub("", colored).splitlines()
    expected = draw(report).splitlines()
    assert len(plain) == len(expected)
    assert [
        a
        for a, b in zip(plain, expected, strict=True)
        if a.rstrip() != b and "█" not in a and "░" not in a
    ] == []


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_text_stays_text(hostile: Callable[[str], Report], text: str, color: bool) -> None:
    shown = hostile(text)
    for by in ("", *(table.by for table in tables() if table.by)):
        drawn = SGR.sub("", draw(shown, width=90, by=by, color=color))
        assert all(line.isprintable() for line in drawn.split("\n"))
        assert max(map(columns_of, drawn.splitlines())) <= 90


def test_markup_is_shown_not_obeyed(hostile: Callable[[str], Report]) -> None:
    drawn = draw(hostile("[bold red]x[/]"))
    assert "[bold red]x[/]: busy" in drawn
    assert drawn == draw(hostile("[bold red]x[/]"), color=False)


def test_a_screen_of_megabytes_is_drawn_at_once(hostile: Callable[[str], Report]) -> None:
    shown = hostile("k<a>::\x1b" * 130_000)
    draw(shown)
    started = time.process_time()
    draw(shown)
    assert time.process_time() - started < 0.5


def test_an_empty_window_is_said(tmp_path: Path) -> None:
    t = TraceBuilder("cpu")
    t.python("train.py(1): main", 0, 1_000)
    drawn = draw(analyze([str(t.write(tmp_path / "empty.json"))]))
    assert "CPU, main thread: nothing ran in the window: no kernel, copy or operator" in drawn


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.field)
@pytest.mark.parametrize("name", ["terminal", "markdown", "csv"])
def test_every_registered_table_is_rendered(report: Report, name: str, table: object) -> None:
    if not table.by:  # type: ignore[attr-defined]
        pytest.skip("not selectable by --by")
    text = renderers()[name].render(report, RenderOptions(by=table.by))  # type: ignore[attr-defined]
    assert text.endswith("\n")
    assert len(text.splitlines()) >= (1 if name == "csv" else 2)


def test_the_next_commands_keep_the_selection(report: Report) -> None:
    chosen = replace(report, window="ProfilerStep#1 a", rank=0)
    assert "analyze TRACE --window 'ProfilerStep#1 a' --rank 0 --by op" in draw(chosen, width=100)
    hidden = replace(report, window="a\x1b{0}")
    assert "analyze runs/train.json --window WINDOW --by op" in draw(hidden, width=100)


def test_traces_of_one_rank_are_named_by_their_file(tmp_path: Path) -> None:
    paths = [build(tmp_path), shutil.copy(tmp_path / "rank0.json", tmp_path / "again.json")]
    drawn = draw(analyze([str(path) for path in paths]), width=100)
    assert re.search(r"rank  device  file +name", drawn)
    assert re.search(r"0       0  rank0.json  NVIDIA", drawn)
    assert re.search(r"0       0  again.json  NVIDIA", drawn)
    assert "below: rank 0, device 0 of rank0.json, which" in drawn


def test_a_device_that_was_not_recorded_is_no_cpu_trace(tmp_path: Path) -> None:
    t = TraceBuilder()
    with t.op("aten::add", 0, 50_000):
        t.call("cudaLaunchKernel", 10_000, 40_000)
    drawn = draw(analyze([str(t.write(tmp_path / "t.json"))]), width=100)
    assert "device not recorded, main thread: in operators 100.0 %" in drawn
    assert "MM-N024  1 launches but no kernels were recorded" in drawn
    assert "CPU" not in drawn
    assert "stream" not in drawn
    assert re.search(r"operator +class +bound +count", drawn)


def test_what_was_achieved_needs_work_that_is_bound_by_it(report: Report) -> None:
    assert "achieved" not in draw(report)
    timed = [msgspec.structs.replace(r, bound="memory") for r in report.devices[0].value("bounds")]
    bounds = msgspec.structs.replace(report.devices[0].results["bounds"], bounds=timed)
    device = replace(report.devices[0], results={**report.devices[0].results, "bounds": bounds})
    assert "achieved" in draw(replace(report, devices=(device,)))


def test_bars_fill_their_width_and_show_whatever_is_there() -> None:
    assert proportional([50, 30, 20], 10) == [5, 3, 2]
    assert proportional([10_000, 1, 1], 10) == [8, 1, 1]
    assert proportional([1, 1, 1], 10) == [4, 3, 3]
    assert proportional([0, 0], 10) == [0, 0]
    assert proportional([0, 7], 10) == [0, 10]


def test_the_demo_fits_one_screen() -> None:
    text = draw(analyze([str(DEMO)]), width=100)
    assert len(text.splitlines()) <= SCREEN_LINES


@pytest.mark.parametrize(
    "path",
    [
        "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz",
        "tracelens/inference/vllm_decode_full/graph_execution.json.gz",
        "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
        "hta/trace_filter",
        "hta/cpu_only",
    ],
)
@pytest.mark.parametrize("width", [80, 100])
def test_public_traces_fit_one_screen(shared_traces: Path, path: str, width: int) -> None:
    report = analyze([str(shared_traces / path)])
    drawn = draw(report, width=width)
    assert len(drawn.splitlines()) <= SCREEN_LINES
    assert max(map(columns_of, drawn.splitlines())) <= width


def test_the_list_of_renderers_does_not_import_rich() -> None:
    code = "import sys; from mmprof.cli.renderers import renderers; renderers(); print('rich.console' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
