"""Running the command line inside the test process, and the traces it is run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM, sync
from mmprof.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a run."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Outcome]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run `mmprof` with the given arguments; standard output is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)  # a runner of tests may set it

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def sync_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One GPU: window 70 us, busy 46 us, idle 24 us (sync 8, python 5, dispatch 5, launch 3, queue 3)."""
    return sync()[0].write(tmp_path_factory.mktemp("traces") / "sync.json.gz")


@pytest.fixture(scope="session")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Device 0 is busy all the time, device 1 half of its time."""
    t = TraceBuilder()
    with t.op("aten::mm", 0, 5_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 13_000))
    with t.device(1), t.op("aten::mm", 5_000, 20_000):
        t.launch(GEMM, at=6_000, call_ns=1_000, kernel=(10_000, 15_000))
        t.launch(GEMM, at=8_000, call_ns=1_000, kernel=(25_000, 30_000))
    return t.write(tmp_path_factory.mktemp("traces") / "two.json")
