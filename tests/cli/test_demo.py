"""`mmprof demo`: a trace, what it says, and what to do next."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.test_trace import needs_torch


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@needs_torch
def test_the_demo(invoke: Invoke) -> None:
    pytest.importorskip("transformers")

    outcome = invoke("demo", "--keep", "kept")

    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, "")
    assert lines[0].startswith("llama task=T-T size=tiny ")
    assert any(text.startswith("demo.json.gz: ") for text in lines)
    assert any(text.startswith("Do next") for text in lines)
    commands = lines[lines.index("Next:") + 1 :]
    assert commands[0].split()[:5] == ["mmprof", "analyze", "kept/demo.json.gz", "--by", "module"]
    assert invoke("analyze", "kept/demo.json.gz", "--by", "module").code == 0
    assert invoke("demo", "--keep", "kept").err.startswith(
        "error[MM-E030]: kept/demo.json.gz exists"
    )


@needs_torch
def test_nothing_is_left_unless_it_is_kept(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    outcome = invoke("demo")

    assert outcome.code == 0
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in outcome.out
    assert "mmprof demo --keep DIR" in outcome.out


def test_without_torch(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )

    outcome = invoke("demo")

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        "error[MM-E050]: the demo needs torch, which is not installed",
        f"found: {sys.executable}",
        "try: pip install 'mmprof[trace]'; without torch: mmprof analyze fixtures/llama-decode-h100-synthetic.json.gz",
    ]
