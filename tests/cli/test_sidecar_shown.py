"""What the output says of a trace with a sidecar."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from fixtures.sidecars import CEILINGS, TIMING, put_beside, sidecar
from mmprof.analyzers.sidecar import Failure, Timing
from tests.cli.conftest import Invoke

SLOWER = (
    "The profiler made this run 2.00x slower: 41.0 ms without it; python and dispatch idle are upper "
    "bounds."
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two products on the CPU in 1 ms each, at 67 % of 100 GB/s."""
    t = TraceBuilder("cpu")
    for start in (0, 2_000_000):
        t.op(
            "aten::mm",
            start,
            start + 1_000_000,
            dims=[[1, 4096], [4096, 4096]],
            types=["float"] * 2,
        )
    return t.write(tmp_path / "t.json")


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_the_profilers_cost_is_one_line(invoke: Invoke, trace: Path, form: str) -> None:
    assert "profiler made" not in invoke("analyze", trace, "--format", form).out
    put_beside(trace, sidecar(timing=TIMING))
    assert SLOWER in words(invoke("analyze", trace, "--format", form).out)


@pytest.mark.parametrize(
    ("timing", "line"),
    [
        (
            {"profiled_s": 0.043},
            "The profiler did not slow this run measurably: 41.0 ms without it.",
        ),
        (
            {"profiled_whole": False},
            "The profiler recorded a part of this run: 41.0 ms without it.",
        ),
        ({"median_s": None}, ""),
    ],
)
def test_it_claims_no_more_than_was_measured(
    invoke: Invoke, trace: Path, timing: dict[str, object], line: str
) -> None:
    changed: Timing = msgspec.structs.replace(TIMING, **timing)
    put_beside(trace, sidecar(timing=changed))
    out = words(invoke("analyze", trace).out)
    assert line in out
    assert ("The profiler" in out) == bool(line)


def test_measured_peaks_are_called_so(invoke: Invoke, trace: Path) -> None:
    put_beside(trace, sidecar(ceilings=CEILINGS))
    out = words(invoke("analyze", trace).out)
    assert "Bound by memory 100.0 % of busy time" in out
    assert "measured where the trace was recorded: 100 GB/s and 1.00 fp32 TFLOP/s" in out


def test_json_has_the_cost_and_thresholds_name_it(invoke: Invoke, trace: Path) -> None:
    put_beside(trace, sidecar(timing=TIMING, ceilings=CEILINGS))
    device = json.loads(invoke("analyze", trace, "--format", "json").out)["devices"][0]
    assert device["overhead"]["interval_s"] == [0.040, 0.043]
    assert device["overhead"]["ratio"] == 2.0
    assert device["roofline"]["measured_flops"] == {"fp32": 10**12}
    assert invoke("analyze", trace, "--fail-on", "overhead.ratio>1.9").code == 1
    assert invoke("analyze", trace, "--fail-on", "overhead.ratio>2.1").code == 0


def test_a_damaged_sidecar_is_no_failure(invoke: Invoke, trace: Path) -> None:
    trace.with_name("t.json.mmprof.json").write_text("{")
    outcome = invoke("analyze", trace)
    assert outcome.code == 0
    assert "MM-N026 the sidecar t.json.mmprof.json cannot be read" in words(outcome.out)


def test_text_of_a_sidecar_does_not_reach_the_terminal_raw(invoke: Invoke, trace: Path) -> None:
    beside = sidecar(notes=["\x1b[31mred"], error=Failure("\x1b]0;title\x07", "|<b>"))
    put_beside(trace, beside)
    for form in ("terminal", "markdown"):
        out = invoke("analyze", trace, "--format", form).out
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "<b>" not in out or form == "terminal"
