"""`import mmprof`: five names, nothing loaded before its first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mmprof
import mmprof.analyzers

ROOT = Path(__file__).resolve().parents[2]


def test_importing_costs_nothing() -> None:
    code = "import sys, mmprof, mmprof.analyzers; print([m for m in ('polars', 'msgspec', 'isal') if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_analyze(sync_trace: Path) -> None:
    report = mmprof.analyze(sync_trace)

    assert isinstance(report, mmprof.Report)
    assert report.devices[0].value("idle_ns") == 24_000
    assert mmprof.analysis_document(report)["schema"] == "mmprof.analysis/1"


def test_analyze_with_selections(two_devices: Path) -> None:
    report = mmprof.analyze(str(two_devices), device=1, window="0..6us")

    assert [(d.device, d.value("window_ns")) for d in report.devices] == [(1, 5_000)]


def test_analyze_several(sync_trace: Path, two_devices: Path) -> None:
    assert len(mmprof.analyze(sync_trace, two_devices).devices) == 3


def test_load(sync_trace: Path) -> None:
    assert mmprof.load(sync_trace).activities.height == 3


def test_errors_are_mmprof_errors(tmp_path: Path) -> None:
    with pytest.raises(mmprof.MmprofError) as caught:
        mmprof.analyze(tmp_path / "none.json")

    assert caught.value.code == "MM-E001"


@pytest.mark.parametrize("package", [mmprof, mmprof.analyzers])
def test_every_public_name_is_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]

    assert set(names) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in names)


@pytest.mark.parametrize("package", [mmprof, mmprof.analyzers])
def test_other_names_are_not(package: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        package.analyse  # type: ignore[attr-defined]  # noqa: B018
