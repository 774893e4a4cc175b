"""`mmprof verify` and `mmprof levers`: what the user sees, and what becomes of levers that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.verification import RENDERERS
from mmprof.cli.renderers.verification.tables import facts
from mmprof.tracer.lever_registry import levers
from mmprof.tracer.verify_results import (
    Baseline,
    LeverResult,
    OutputCheck,
    Predicted,
    Rung,
    Verification,
    verification_schema,
)
from tests.cli.conftest import Invoke

OWN = Path(__file__).parents[1] / "tracer"
OWN_LEVERS = ("fast", "kills_baseline", "slow", "raises", "kills", "elsewhere")
BRIEFLY = (
    "--precision=20%",
    "--max-time=1",
    "--time-limit=120",
    "--fail-on-unverified",
    "--format=json",
)

FOUND = Verification(
    workload={"name": "llama", "task": "T-T", "size": "tiny"},
    device="cpu",
    device_name="a CPU",
    clock="cpu",
    threads=1,
    versions={},
    baseline=Baseline(
        runs_s=[0.02, 0.04],
        median_s=0.03,
        interval_s=(0.02, 0.04),
        peak_bytes=1 << 30,
        deterministic=False,
        noise=1.015,
        idle_share=0.5,
    ),
    levers=[
        LeverResult(
            lever="sdpa",
            verdict="verified",
            exactness="reassociation",
            speedup=1.25,
            interval=(1.004, 1.5),
            p_value=0.01,
            pairs=12,
            predicted=Predicted(1.1, 1.4, 2.25),
            output_check=OutputCheck(ok=True, detail="same greedy choices"),
            setup_cost_s=0.25,
            pays_back_after_calls=42,
            peak_bytes=1 << 20,
        ),
        LeverResult(
            lever="cuda_graphs",
            verdict="not applicable",
            exactness="reassociation",
            reason="needs a CUDA device",
        ),
    ],
    ladder=[
        Rung(levers=["sdpa"], verdict="verified", exactness="reassociation", speedup=1.25),
        Rung(levers=["sdpa", "dtype"], verdict="slower", exactness="lossy", idle_share=0.25),
    ],
)


@pytest.mark.parametrize("format_name", ["terminal", "markdown"])
def test_each_number_is_shown(format_name: str) -> None:
    shown = RENDERERS[format_name](FOUND, RenderOptions(width=120))
    for part in (
        "llama",
        "30.0 ms",
        "1.5 %",
        "not deterministic",
        "1.250x",
        "1.004x to 1.500x",
        "250 ms",
        "42 calls",
        "1.10x to 2.25x",
        "1.00 MiB",
        "+ dtype",
        "25.0 %",
        "idle 50.0 %",
        "needs a CUDA device",
        "same greedy choices",
    ):
        assert part in shown.replace("&#43;", "+")


@pytest.mark.parametrize(
    ("noise", "device", "told"), [(2.28, "cpu", True), (1.2, "cpu", False), (2.28, "cuda:0", False)]
)
def test_where_equal_processes_differ_much_it_says_what_may_help(
    noise: float, device: str, told: bool
) -> None:
    found = replace(FOUND, device=device, baseline=replace(FOUND.baseline, noise=noise))
    assert any("MALLOC_TRIM_THRESHOLD_" in line for line in facts(found)) == told


def test_a_narrow_screen_keeps_the_verdict() -> None:
    lines = RENDERERS["terminal"](FOUND, RenderOptions(width=60)).splitlines()
    assert max(map(len, lines)) <= 60
    assert any("sdpa" in line and "verified" in line and "1.250x" in line for line in lines)


def test_the_json_is_the_document_and_fits_its_schema() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    document = json.loads(RENDERERS["json"](FOUND, RenderOptions()))
    validator(verification_schema()).validate(document)
    assert document["schema"] == "mmprof.verification/1"
    assert msgspec.convert(document, Verification) == FOUND


def test_levers_lists_all_and_tells_of_one(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(invoke("levers", "--format", "json").out)
    assert [row["id"] for row in listed["rows"]] == list(levers())
    page = invoke("levers", "bf16").out
    assert "bfloat16" in page
    assert "0.06" in page
    monkeypatch.setenv("COLUMNS", "80")
    words = [line.partition(" ")[0] for line in invoke("levers").out.splitlines()]
    assert [word for word in words if word in levers()] == list(levers())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["llama", "--lever", "sdp"], "did you mean 'sdpa'?"),
        (["llama", "--lever", "nowhere:LEVER"], "does not exist"),
        (["lama"], "did you mean 'llama'?"),
        ([], "verify takes one target"),
        (["llama", "--precision", "wide"], "--precision takes a share"),
        (["llama", "--precision", "0"], "--precision takes a share"),
        (["llama", "--format", "yaml"], "the format 'yaml' does not exist"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(
    invoke: Invoke, arguments: list[str], told: str
) -> None:
    outcome = invoke("verify", *arguments)
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.slow
def test_what_becomes_of_each_kind_of_lever(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(OWN)
    monkeypatch.syspath_prepend(str(OWN))
    named = [word for name in OWN_LEVERS for word in ("--lever", f"own_levers:{name.upper()}")]
    outcome = invoke("verify", "own_target:make", "--lever", "none", *named, *BRIEFLY)
    assert outcome.code == 1, outcome.err
    found = json.loads(outcome.out)
    results: dict[str, Any] = {result["lever"]: result for result in found["levers"]}
    none = results.pop("none")
    assert {name: result["verdict"] for name, result in results.items()} == {
        "fast": "verified",
        "kills_baseline": "failed",
        "slow": "slower",
        "raises": "failed",
        "kills": "failed",
        "elsewhere": "not applicable",
    }
    assert results["raises"]["reason"] == "ValueError: no such kernel"
    assert results["kills"]["reason"].startswith("the process was killed by SIGKILL")
    assert results["elsewhere"]["reason"] == "needs another device"
    # an eighth of the work, and four times of it
    assert results["fast"]["interval"][0] > 1.5
    assert results["slow"]["interval"][1] < 0.75
    assert found["baseline"]["deterministic"]
    # the baseline against itself
    assert none["output_check"]["outputs_equal"]
    assert none["interval"][0] <= none["speedup"] <= none["interval"][1]
    assert 0.5 < none["speedup"] < 2  # far from both of the above, on a busy machine as well
    # the parts of a recorded request sum to its window
    parts = results["fast"]["changed"]
    assert sum(p["after_ns"] for p in parts) == results["fast"]["recorded"]["window_ns"]
    assert sum(p["before_ns"] for p in parts) == found["baseline"]["recorded"]["window_ns"]
    # only what worked alone is cumulated
    assert [rung["levers"] for rung in found["ladder"]] == [["fast"], ["fast", "slow"]]
    assert found["ladder"][0]["speedup"] == results["fast"]["speedup"]


@pytest.mark.slow
def test_a_baseline_that_fails_is_the_users_error(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(OWN)
    outcome = invoke("verify", "own_target:nothing")
    assert outcome.code == 2
    assert "own_target has no 'nothing'" in outcome.err
