"""The benchmark of a GPU: the same items on a CPU, its limits, and what it says without a GPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.run import Item, Plan, items, run
from tests.conftest import ROOT

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


def plan(out: Path, **changes: object) -> Plan:
    given = {"device": "cpu", "memory_bytes": 1 << 40, "names": ["llama"], "sizes": ["tiny"]}
    return Plan(out=out, **{**given, **changes})


@needs_torch
def test_the_same_items_on_a_cpu(tmp_path: Path) -> None:
    options = f"--device cpu --sizes tiny --families hstu --out {tmp_path}".split()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    reasons = {item["name"]: item["reason"] for item in results["items"]}
    assert reasons == {"hstu-tiny": "", "graph-twins": "CUDA graphs need CUDA", "fixtures": ""}
    assert results["items"][0]["result"]["tasks"][0]["family"] == "hstu"
    assert "### How long does a request take?" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "fixtures" / "hstu-H-A-tiny-cpu-recorded.json.gz").is_file()


@needs_torch
def test_without_a_gpu() -> None:
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        pytest.skip("there is one")

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert [text[:6] for text in done.stderr.splitlines()] == ["error:", "try: -"]


def test_what_does_not_fit_is_not_run(tmp_path: Path) -> None:
    listed = items(plan(tmp_path, device="cuda", memory_bytes=8 << 30, sizes=["small", "full"]))

    reasons = {item.name: item.reason for item in listed}
    assert reasons["llama-small"] == ""
    # 6.74 billion parameters of two bytes
    assert reasons["llama-full"] == "12.6 GiB of weights, the device has 8.0 GiB"
    assert [*reasons] == ["llama-small", "graph-twins", "fixtures", "llama-full"]


def test_an_item_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Item("slow", [["-c", "import time; time.sleep(60)"]])
    monkeypatch.setattr("benchmarks.gpu.run.items", lambda _: [slow])

    [outcome] = run(plan(tmp_path, item_limit_s=0.5))

    assert outcome.reason.startswith("stopped after ")
    assert json.loads((tmp_path / "results.json").read_text())["items"][0]["name"] == "slow"


def test_failures_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        Item("wrong", [["-m", "mmprof", "analyze", "none.json", "--format=json"], ["-c", "1/0"]]),
        Item("crash", [["-c", "raise SystemExit(3)"]]),
        Item("fine", [["-c", "pass"]]),
    ]
    monkeypatch.setattr("benchmarks.gpu.run.items", lambda _: listed)

    reasons = {outcome.name: outcome.reason for outcome in run(plan(tmp_path))}

    assert reasons["wrong"] == "cannot read none.json"
    assert reasons["crash"] == "exit code 3"
    assert reasons["fine"] == ""


def test_no_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.run.items", lambda _: [Item("late", [["-c", "pass"]])])

    [outcome] = run(plan(tmp_path, limit_s=0.0))

    assert outcome.reason == "no time left"
