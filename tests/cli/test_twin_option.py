"""`mmprof analyze --twin`: what it adds to the output, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import mmprof
from fixtures.builder import TraceBuilder
from fixtures.twins import decoder, eager, replay, sampling
from mmprof.analyzers.contract import analysis_schema
from tests.cli.conftest import Invoke


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three replays of 22 kernels, with sampling after each."""
    t, at = TraceBuilder(), 0
    for _ in range(3):
        at = eager(t, sampling(), at=replay(t, decoder(2), at=at))
    return t.write(tmp_path_factory.mktemp("twins") / "graphs.json")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without graphs, once."""
    t = TraceBuilder()
    eager(t, sampling(), at=eager(t, decoder(2), at=0))
    return t.write(tmp_path_factory.mktemp("twins") / "eager.json.gz")


def test_json(invoke: Invoke, graphs: Path, twin: Path) -> None:
    document = json.loads(invoke("analyze", graphs, "--twin", twin, "--format", "json").out)

    jsonschema.validate(document, analysis_schema())
    device = document["devices"][0]
    assert device["twin"] == {
        "graph_activities": 66,
        "graph_time_ns": 66_000,
        "aligned_activities": 66,
        "aligned_time_ns": 66_000,
        "aligned_share": 1.0,
    }
    assert device["operator_coverage"] == device["module_coverage"] == 1.0
    assert [(note["code"], note["message"].endswith(str(twin))) for note in document["notes"]] == [
        ("MM-N025", True)
    ]


def test_without_a_twin(invoke: Invoke, graphs: Path) -> None:
    document = json.loads(invoke("analyze", graphs, "--format", "json").out)

    jsonschema.validate(document, analysis_schema())
    assert document["devices"][0]["twin"] is None


@pytest.mark.parametrize(
    ("by", "first"), [("module-kind", "TinyForCausalLM"), ("op", "aten::mm"), ("class", "linear")]
)
def test_tables_have_what_the_twin_says(
    invoke: Invoke, graphs: Path, twin: Path, by: str, first: str
) -> None:
    outcome = invoke("analyze", graphs, "--twin", twin, "--by", by, "--format", "csv")

    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split(",")[2] == first


def test_every_format_shows_it(invoke: Invoke, graphs: Path, twin: Path) -> None:
    for name in ("terminal", "markdown"):
        outcome = invoke("analyze", graphs, "--twin", twin, "--format", name)
        assert outcome.code == 0
        assert "aten::mm" in outcome.out


def test_another_workload_is_refused(invoke: Invoke, graphs: Path, sync_trace: Path) -> None:
    outcome = invoke("analyze", graphs, "--twin", sync_trace, "--format", "json")

    error = json.loads(outcome.out)
    assert (outcome.code, error["code"]) == (2, "MM-E042")
    assert error["found"].startswith("0 of 66 kernels in graph replays (0.0 % of their time)")


def test_a_twin_that_is_not_there(invoke: Invoke, graphs: Path, tmp_path: Path) -> None:
    outcome = invoke("analyze", graphs, "--twin", tmp_path / "none.json")

    assert outcome.code == 2
    assert "none.json" in outcome.err


def test_in_python(graphs: Path, twin: Path) -> None:
    report = mmprof.analyze(graphs, twin=twin)

    assert report.devices[0].value("operator_coverage") == 1.0
    with pytest.raises(mmprof.MmprofError, match="replays no graph"):
        mmprof.analyze(twin, twin=graphs)
