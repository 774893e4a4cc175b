"""`mmprof recommend` on the command line, and what its formats make of one document."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM, PLANTED
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.whatif.by_hand import BY_HAND
from mmprof.analyzers.whatif.recommendation import (
    EXCLUSIVE,
    Recommendations,
    recommend,
    recommendation_schema,
)
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.recommendation import RENDERERS
from mmprof.tracer.lever import Lever
from mmprof.tracer.lever_registry import levers
from tests.cli.conftest import Invoke
from tests.cli.test_help import PRINT_MODULES
from tests.conftest import ROOT

DEMO = ROOT / "fixtures" / "llama-decode-h100-synthetic.json.gz"
HOSTILE = "\x1b[31mH100|<img>\n@all"


@pytest.fixture(scope="module")
def found() -> Recommendations:
    view = next(views(load(DEMO), Options()))
    return recommend(view, [*levers().values(), *BY_HAND], name="NVIDIA H100")


def ids(document: Recommendations) -> list[str]:
    return [entry.lever for entry in document.recommendations]


def test_the_largest_expected_gain_comes_first(found: Recommendations) -> None:
    expected = [entry.predicted.expected for entry in found.recommendations]
    assert expected == sorted(expected, reverse=True)
    assert ids(found)[0] == "cuda_graphs"
    assert found.recommendations[0].findings == ["MM101"]
    for entry in found.recommendations:
        assert entry.predicted.low <= entry.predicted.expected <= entry.predicted.high
        assert entry.assumptions
        assert entry.evidence.events
        assert 0 < entry.evidence.share <= 1


def test_every_lever_is_either_recommended_or_rejected_with_a_reason(
    found: Recommendations,
) -> None:
    rejected = [entry.lever for entry in found.rejected]
    known = [*levers(), *(advice.id for advice in BY_HAND)]
    assert sorted(ids(found) + rejected) == sorted(known)
    assert all(entry.why for entry in found.rejected)


def test_levers_together_gain_more_than_each_and_less_than_their_product(
    found: Recommendations,
) -> None:
    assert found.stack
    assert found.stack.levers == ["cuda_graphs", "sdpa", "inference_mode"]
    alone = {entry.lever: entry.predicted.expected for entry in found.recommendations}
    assert max(alone.values()) < found.stack.predicted.expected
    assert not [group for group in EXCLUSIVE if len(group & set(found.stack.levers)) > 1]
    assert found.stack.exactness == "reassociation"


def test_the_replay_is_told_with_its_error(found: Recommendations) -> None:
    replay = found.replay
    assert replay.error == abs(replay.replayed_ns - replay.window_ns) / replay.window_ns < 0.02
    assert replay.base_ns == replay.window_ns
    assert replay.event_cost_ns is None


def test_the_profiler_is_taken_out_where_its_cost_is_known() -> None:
    recorded = ROOT / "fixtures/recorded/llama-T-T-tiny-cpu-recorded.json.gz"
    view = next(views(load(recorded), Options()))
    replay = recommend(view, []).replay
    timing = view.trace.sidecar.timing if view.trace.sidecar else None
    assert timing
    assert timing.median_s
    assert timing.profiled_s
    assert replay.event_cost_ns
    assert replay.base_ns / replay.window_ns == pytest.approx(
        timing.median_s / timing.profiled_s, abs=0.01
    )


def test_json_is_the_document_and_fits_its_schema(invoke: Invoke) -> None:
    outcome = invoke("recommend", DEMO, "--format", "json")
    document = json.loads(outcome.out)
    schema = json.loads(invoke("schema", "recommendation").out)
    assert outcome.code == 0
    assert document["schema"] == "mmprof.recommendation/1"
    assert schema == recommendation_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert [
        name
        for part in [schema, *schema["$defs"].values()]
        for name, field in part["properties"].items()
        if name != "schema" and "description" not in field and part.get("title") != "InputFacts"
    ] == []


def test_the_screen_shows_the_best_lever_and_hides_the_rejected(invoke: Invoke) -> None:
    brief, whole = invoke("recommend", DEMO).out, invoke("recommend", DEMO, "--all").out
    assert [line for line in brief.splitlines() if line.startswith("cuda_graphs ")]
    assert "Together cuda_graphs + sdpa + inference_mode" in brief
    assert "more were considered; --all says why not" in brief
    assert "no key-value cache is reordered" not in brief
    assert "no key-value cache is reordered" in whole
    assert max(map(len, whole.splitlines())) <= 100


def test_markdown_has_a_row_for_each_lever(invoke: Invoke, tmp_path: Path) -> None:
    page = tmp_path / "next.md"
    assert invoke("recommend", DEMO, "--all", "--output", page).code == 0
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| lever | expected | low to high |")
    assert [row for row in rows if row.startswith("| `cuda_graphs` |")]
    assert [row for row in rows if row.startswith("| `tf32` |")]


@pytest.mark.parametrize("name", sorted(RENDERERS))
@pytest.mark.parametrize("width", [40, 100, None])
def test_names_of_a_trace_do_no_harm(found: Recommendations, name: str, width: int | None) -> None:
    entry = found.recommendations[0]
    evidence = msgspec.structs.replace(entry.evidence, where=HOSTILE)
    hostile = msgspec.structs.replace(
        found,
        name=HOSTILE,
        input=replace(found.input, path=HOSTILE),
        recommendations=[msgspec.structs.replace(entry, evidence=evidence)],
    )
    text = RENDERERS[name](hostile, RenderOptions(width=width, encoding="utf-8"), True)
    assert "\x1b" not in text
    if name == "markdown":
        assert "<img>" not in text
        assert "\n@all" not in text
    if name == "terminal":
        assert max(map(len, text.splitlines())) <= (width or 100)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_every_kind_of_trace_gets_an_answer(
    invoke: Invoke, tmp_path: Path, planted: object
) -> None:
    assert callable(planted)
    outcome = invoke("recommend", planted()[0].write(tmp_path / "t.json"), "--format", "json")
    document = json.loads(outcome.out)
    assert outcome.code == 0
    assert document["replay"]["window_ns"] == planted()[1]["window_ns"]
    assert document["rejected"]


def test_a_replay_that_misses_the_window_predicts_nothing(invoke: Invoke, tmp_path: Path) -> None:
    # lags of 0, 0 and 40 us between queued kernels: what is typical explains half of the window
    t = TraceBuilder()
    for at, start in ((1_000, 10_000), (3_000, 20_000), (5_000, 30_000), (7_000, 80_000)):
        with t.op("aten::mm", at - 500, at + 1_200):
            t.launch(GEMM, at=at, call_ns=1_000, kernel=(start, start + 10_000))
    shown = invoke("recommend", t.write(tmp_path / "t.json"), "--all").out
    assert "50.0 % off" in shown
    assert "Nothing is predicted: the replay does not explain the measured window." in shown
    assert "misses the measured window by 50.0 %" in shown


def test_a_window_can_be_chosen(invoke: Invoke) -> None:
    whole, decode = (
        json.loads(invoke("recommend", DEMO, "--format", "json", *more).out)
        for more in ((), ("--window", "decode"))
    )
    assert decode["window"] == "decode"
    assert decode["replay"]["window_ns"] < whole["replay"]["window_ns"]


def test_wrong_use_is_an_error(invoke: Invoke) -> None:
    outcome = invoke("recommend", DEMO, "--format", "html")
    assert (outcome.code, outcome.err.splitlines()[0]) == (
        2,
        "error[MM-E028]: the format 'html' does not exist",
    )
    outcome = invoke("recommend", DEMO, "--device", "7", "--format", "json")
    assert (outcome.code, json.loads(outcome.out)["code"]) == (2, "MM-E022")


def test_torch_is_not_needed() -> None:
    arguments = ["recommend", str(DEMO), "--format", "json"]
    code = PRINT_MODULES.format(arguments=arguments, heavy=("torch", "transformers", "numpy"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr) == [0, []]


def test_a_lever_without_a_prediction_is_to_be_measured(found: Recommendations) -> None:
    silent = [lever.id for lever in levers().values() if lever.predict is None]
    assert silent
    assert all(isinstance(lever, Lever) for lever in levers().values())
    why = {entry.lever: entry.why for entry in found.rejected}
    usual = "a trace does not show what it would gain; `mmprof verify` measures it"
    assert all(why[lever] == (levers()[lever].unseen or usual) for lever in silent)
    assert "how fast oneDNN multiplies" in why["onednn_matmul"]
