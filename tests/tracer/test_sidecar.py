"""The sidecar: written whole, read back equal, honest about what it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.sidecar import (
    Ceiling,
    DeviceFacts,
    HostFacts,
    ProfilerOptions,
    Sidecar,
    Timing,
    WorkloadFacts,
    read_sidecar,
    sidecar_path,
)

SIDECAR = Sidecar(
    trace="t.json.gz",
    recorded_at="2026-01-01T00:00:00+00:00",
    workload=WorkloadFacts("llama", {"task": "T-T", "seed": 0, "scale": 0.5, "sampled": True}),
    device=DeviceFacts("cpu", "a processor"),
    host=HostFacts("a processor", 2, 1),
    versions={"torch": "2"},
    timing=Timing([0.25], 0.25, (0.25, 0.25), 0.0),
    profiler=ProfilerOptions(("CPU",)),
    ceilings=[
        Ceiling("matmul", "bf16", 4e11, "flops", "torch.mm"),
        Ceiling("copy", "fp32", 3e10, "bytes", "Tensor.copy_"),
    ],
)


def written(trace: Path, **changes: object) -> Path:
    document = {**msgspec.to_builtins(SIDECAR), **changes}
    sidecar_path(trace).write_text(json.dumps(document))
    return trace


def test_it_stands_beside_its_trace() -> None:
    assert sidecar_path("runs/t.json.gz") == Path("runs/t.json.gz.mmprof.json")


def test_reading_without_one(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "t.json") is None


def test_reading_what_was_written(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path / "t.json")) == SIDECAR


def test_fields_of_a_newer_tracer_are_ignored(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path / "t.json", weather="fine")) == SIDECAR


@pytest.mark.parametrize("changes", [{"schema": "mmprof.sidecar/2"}, {"timing": 3}])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(MmprofError) as caught:
        read_sidecar(written(tmp_path / "t.json", **changes))

    assert caught.value.code == "MM-E059"


def test_ceilings_by_name() -> None:
    assert SIDECAR.ceiling("matmul", "bf16") == 4e11
    assert SIDECAR.ceiling("copy") == 3e10
    assert SIDECAR.ceiling("matmul", "fp16") is None


def test_reading_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, mmprof.analyzers.sidecar as s; s.read_sidecar('none'); print({'torch', 'numpy'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
