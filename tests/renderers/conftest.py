"""A small report with known numbers, and the same report with every string replaced by something hostile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import DeviceReport, Report, analyze
from mmprof.analyzers.findings import Evidence, Finding, Gain
from mmprof.analyzers.notes import note

FINDINGS = (
    Finding(
        code="MM101",
        title="GPU idle 8.00 us (12.9 %) waiting for the host to launch: 3 launches, most of the wait is python",
        severity="medium",
        lever="cuda_graphs",
        gain=Gain(1.0, 1.07, 1.15),
        evidence=Evidence([0], 0.129, 8_000, 3, "aten::relu at model.py:12 forward"),
        explain="",
    ),
    Finding(
        code="MM114",
        title="Communication is exposed: nothing hides it",
        severity="low",
        lever="",
        gain=Gain(1.0, 1.0, 1.02),
        evidence=Evidence([], 0.02, 1_000, 1),
        explain="",
    ),
)
NOTES = (note("MM-N006", count=2), note("MM-N021"))


def build(folder: Path, *, rank: int = 0, gap_ns: int = 10_000) -> str:
    """A product of 40 us, a gap, an activation of 10 us, and a copy of 2 us right after it.

    The gap of 10 us is 2 us of python, 2 of dispatch, 2 of launch and the rest queue.
    """
    t = TraceBuilder(rank=rank)
    t.distributed(12)
    shapes = {"dims": [[64, 64], [64, 64]], "types": ["float", "float"]}
    relu = (50_000 + gap_ns, 60_000 + gap_ns)
    with t.op("aten::mm", 0, 9_000, **shapes):
        t.launch("ampere_sgemm_64x64_nn", at=2_000, call_ns=3_000, kernel=(10_000, 50_000))
    with t.op("aten::relu", 52_000, 59_000, dims=[[64, 64]], types=["float"]):
        t.launch("relu_kernel", at=54_000, call_ns=2_000, kernel=relu)
    copy = (relu[1], relu[1] + 2_000)
    with t.op("aten::copy_", 59_200, 61_000):
        t.memcpy("HtoD (Pinned -> Device)", at=59_500, call_ns=1_000, copy=copy, nbytes=4096)
    return str(t.write(folder / f"rank{rank}.json"))


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One device, two findings, two notes."""
    found = analyze([build(tmp_path_factory.mktemp("one"))])
    inputs = (replace(found.inputs[0], path="runs/train.json"),)
    devices = (replace(_with_overlap(found.devices[0], 1_000), findings=FINDINGS),)
    return replace(found, inputs=inputs, notes=NOTES, devices=devices)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Twelve ranks; rank 7 waits longest."""
    folder = tmp_path_factory.mktemp("ranks")
    for rank in range(12):
        build(folder, rank=rank, gap_ns=90_000 if rank == 7 else 10_000 + rank)
    found = analyze([str(folder)])
    return replace(found, devices=tuple(_with_overlap(d, 0) for d in found.devices))


def _with_overlap(device: DeviceReport, overlap_ns: int) -> DeviceReport:
    timeline = msgspec.structs.replace(device.results["timeline"], overlap_ns=overlap_ns)
    return replace(device, results={**device.results, "timeline": timeline})


@pytest.fixture(scope="session")
def hostile(report: Report) -> Callable[[str], Report]:
    """The report with one text in place of every string of the trace."""

    def replaced(text: str) -> Report:
        device = report.devices[0]
        results = {name: _with_text(result, text) for name, result in device.results.items()}
        finding = msgspec.structs.replace(
            _with_text(FINDINGS[0], text), severity="high", code=FINDINGS[0].code
        )
        hurt = replace(device, name=text, results=results, findings=(finding,))
        inputs = tuple(replace(facts, path=text) for facts in report.inputs)
        return replace(
            report, inputs=inputs, notes=_with_text(list(NOTES), text), devices=(hurt,), window=text
        )

    return replaced


def _with_text(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [_with_text(item, text) for item in value]
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return type(value)(**{name: _with_text(field, text) for name, field in fields.items()})
    return value
