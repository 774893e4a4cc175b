"""Where the time of recorded requests goes, what explains a gain, and how that is said."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import Options
from mmprof.analyzers.diff.difference import difference
from mmprof.analyzers.diff.sides import read_side
from mmprof.analyzers.diff.source import Source
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.optimization import RENDERERS as OF_SEARCH
from mmprof.cli.renderers.verification import RENDERERS
from mmprof.cli.renderers.verification.recordings import Recording, sentence
from mmprof.tracer.verify_recording import changed_times, recorded_request
from mmprof.tracer.verify_results import LeverResult, RecordedRequest, Rung, Verification
from tests.cli.test_verify_verb import FOUND

BEFORE = RecordedRequest(
    window_ns=10_000_000,
    classes_ns={"linear": 4_000_000, "softmax": 1_000_000},
    causes_ns={"python": 5_000_000},
)
AFTER = RecordedRequest(
    window_ns=7_000_000,
    classes_ns={"linear": 4_500_000, "attention": 500_000},
    causes_ns={"python": 1_500_000, "dispatch": 500_000},
)


def test_the_changes_are_the_parts_of_the_windows_the_largest_first() -> None:
    found = changed_times(BEFORE, AFTER)
    assert [(part.key, part.idle, part.delta_ns) for part in found] == [
        ("python", True, -3_500_000),
        ("softmax", False, -1_000_000),
        ("attention", False, 500_000),
        ("linear", False, 500_000),
        ("dispatch", True, 500_000),
    ]
    assert sum(part.before_ns for part in found) == BEFORE.window_ns
    assert sum(part.delta_ns for part in found) == AFTER.window_ns - BEFORE.window_ns
    assert changed_times(None, AFTER) == changed_times(BEFORE, None) == []
    assert AFTER.idle_share == pytest.approx(2 / 7)


def kernels_of(path: Path, *lengths_ns: int) -> Path:
    """Kernels 20 us apart, each launched in time."""
    trace = TraceBuilder()
    for at, dur_ns in enumerate(lengths_ns):
        start = 20_000 * at
        with trace.op("aten::mm" if at % 2 else "aten::softmax", start, start + 2_000):
            trace.launch(
                f"kernel{at}",
                at=start + 500,
                call_ns=500,
                kernel=(start + 2_000, start + 2_000 + dur_ns),
            )
    trace.write(path)
    return path


def test_a_recording_says_what_a_diff_of_the_traces_says(tmp_path: Path) -> None:
    before = kernels_of(tmp_path / "before.json", 9_000, 8_000, 7_000)
    after = kernels_of(tmp_path / "after.json", 3_000, 8_000, 5_000)
    changed = changed_times(recorded_request(before), recorded_request(after))
    sides = (read_side(Source((str(path),)), Options()) for path in (before, after))
    diffed = difference(*sides)
    by_class = {row.key: row.delta_ns for row in diffed.levels.class_ if row.key != "idle"}
    by_cause = {row.key: row.delta_ns for row in diffed.levels.cause if row.key != "busy"}
    assert {part.key: part.delta_ns for part in changed if not part.idle} == by_class
    assert {part.key: part.delta_ns for part in changed if part.idle} == by_cause
    assert sum(part.delta_ns for part in changed) == diffed.total.delta_ns == -2_000


def test_what_cannot_be_read_is_not_recorded(tmp_path: Path) -> None:
    assert recorded_request(tmp_path / "none.json") is None


def row(verdict: str) -> Recording:
    return Recording("sdpa", verdict, AFTER, changed_times(BEFORE, AFTER))


def test_a_sentence_names_what_makes_most_of_the_gain_and_what_works_against_it() -> None:
    assert sentence(row("verified")) == (
        "sdpa: 10.0 ms -> 7.00 ms recorded; idle in Python -3.50 ms, softmax -1.00 ms; "
        "but attention +500 us, linear +500 us"
    )


def test_a_sentence_does_not_explain_what_the_recordings_do_not_show() -> None:
    assert sentence(row("slower")) == (
        "sdpa: one recording of each does not show it: 10.0 ms -> 7.00 ms"
    )


def recorded(found: Verification) -> Verification:
    """The document, with recordings of the baseline, the first lever and both rungs."""
    told = {"recorded": AFTER, "changed": changed_times(BEFORE, AFTER)}
    first: LeverResult = msgspec.structs.replace(found.levers[0], **told)
    rungs: list[Rung] = [msgspec.structs.replace(rung, **told) for rung in found.ladder]
    base = msgspec.structs.replace(found.baseline, recorded=BEFORE)
    return msgspec.structs.replace(
        found, baseline=base, levers=[first, *found.levers[1:]], ladder=rungs
    )


@pytest.mark.parametrize("format_name", ["terminal", "markdown"])
def test_shares_and_the_sentence_are_shown(format_name: str) -> None:
    shown = " ".join(RENDERERS[format_name](recorded(FOUND), RenderOptions(width=120)).split())
    for part in (
        "Where a recorded request's time goes",
        "50.0 %",  # the baseline is idle for half of its window
        "64.3 %",  # 4.5 of 7 ms in linear layers
        "28.6 %",
        "idle in Python -3.50 ms",
    ):
        assert part in shown, part


def test_a_search_shows_them_for_each_rung() -> None:
    shown = OF_SEARCH["terminal"](recorded(FOUND), RenderOptions(width=120))
    assert "64.3 %" in shown


def test_without_recordings_there_is_no_table() -> None:
    assert "recorded request's time" not in RENDERERS["terminal"](FOUND, RenderOptions(width=120))


def test_the_json_has_them() -> None:
    document = json.loads(RENDERERS["json"](recorded(FOUND), RenderOptions()))
    lever = document["levers"][0]
    assert lever["recorded"]["classes_ns"]["linear"] == 4_500_000
    assert lever["changed"][0] == {
        "key": "python",
        "idle": True,
        "before_ns": 5_000_000,
        "after_ns": 1_500_000,
        "delta_ns": -3_500_000,
    }
    assert msgspec.convert(document, Verification) == recorded(FOUND)
