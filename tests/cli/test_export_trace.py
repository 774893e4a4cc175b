"""`mmprof export -o annotated.json.gz`: annotated traces from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.load import load
from tests.annotated.trace_rules import broken_rules, read_document, tracks_of
from tests.cli.conftest import Invoke

DEVICE = "mmprof: device 0 of rank 0"


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    folder = tmp_path / "ranks"
    folder.mkdir()
    for rank in (0, 1):
        t = TraceBuilder(rank=rank)
        t.distributed(2)
        t.launch(GEMM, at=0, call_ns=1_000, kernel=(2_000, 3_000))
        t.write(folder / f"rank{rank}.json")
    return folder


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.zst"])
def test_the_suffix_asks_for_an_annotated_trace(
    invoke: Invoke, sync_trace: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"annotated{suffix}"

    outcome = invoke("export", sync_trace, "-o", output)

    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"open {output} in https://ui.perfetto.dev\n"
    assert [n.code for n in load(output).notes] == ["MM-N029"]


def test_the_analysis_of_an_annotated_trace_is_the_same(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    output = tmp_path / "annotated.json.gz"
    invoke("export", sync_trace, "-o", output, "--quiet")

    before, after = (
        json.loads(invoke("analyze", path, "--format", "json").out) for path in (sync_trace, output)
    )

    assert after.pop("notes") != before.pop("notes")
    assert after.pop("inputs") != before.pop("inputs")
    assert after == before


def test_what_stands_beside_the_trace_goes_with_it(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    original, output = tmp_path / "trace.json.gz", tmp_path / "annotated.json.gz"
    original.write_bytes(sync_trace.read_bytes())
    beside, copied = (path.with_name(f"{path.name}.mmprof.json") for path in (original, output))
    beside.write_text('{"schema": "mmprof.sidecar/1", "notes": ["a note"]}')

    invoke("export", original, "-o", output)

    assert copied.read_bytes() == beside.read_bytes()
    output.unlink()
    assert invoke("export", original, "-o", output).err.startswith("error[MM-E030]")
    assert not output.exists()


def test_every_device_is_a_process(invoke: Invoke, two_devices: Path, tmp_path: Path) -> None:
    invoke("export", two_devices, "-o", tmp_path / "a.json", "--tracks-only")

    document = read_document(tmp_path / "a.json")
    assert broken_rules(document) == []
    assert {process for process, _ in tracks_of(document["traceEvents"])} == {
        f"mmprof: device {device} of rank 0" for device in (0, 1)
    }


def test_a_cpu_trace(invoke: Invoke, tmp_path: Path) -> None:
    t = TraceBuilder("cpu")
    t.op("aten::mm", 0, 2_000)
    t.op("aten::add", 3_000, 4_000)

    invoke("export", t.write(tmp_path / "cpu.json"), "-o", tmp_path / "a.json")

    tracks = tracks_of(read_document(tmp_path / "a.json")["traceEvents"])
    main = "mmprof: main thread of rank 0"
    assert [e["name"] for e in tracks[main, "classes"]] == ["linear", "elementwise"]
    assert [e["name"] for e in tracks[main, "idle causes"]] == ["python"]


def test_a_trace_on_standard_input(
    invoke: Invoke, sync_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sync_trace.read_bytes())))

    assert invoke("export", "-", "-o", tmp_path / "piped.json").code == 0

    invoke("export", sync_trace, "-o", tmp_path / "named.json")
    assert (tmp_path / "piped.json").read_bytes() == (tmp_path / "named.json").read_bytes()


def test_a_folder_of_ranks(invoke: Invoke, ranks: Path, tmp_path: Path) -> None:
    assert invoke("export", ranks, "-o", tmp_path / "all.json").code == 0

    document = read_document(tmp_path / "all.json")
    assert broken_rules(document) == []
    assert {process for process, _ in tracks_of(document["traceEvents"])} == {
        f"rank {r} | mmprof: device 0 of rank {r}" for r in (0, 1)
    }


def test_two_traces_go_on_one_time_line(invoke: Invoke, ranks: Path, tmp_path: Path) -> None:
    outcome = invoke("export", ranks / "rank0.json", ranks, "-o", tmp_path / "both.json")

    document = read_document(tmp_path / "both.json")
    assert outcome.code == 0
    assert broken_rules(document) == []
    assert document["mmprofJoined"] == ["before", "after, rank 0", "after, rank 1"]


def test_no_file_is_overwritten(invoke: Invoke, sync_trace: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    output.write_text("mine")

    assert invoke("export", sync_trace, "-o", output).err.startswith("error[MM-E030]")
    assert output.read_text() == "mine"
    assert invoke("export", sync_trace, "-o", output, "--force").code == 0
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["{trace}", "-o", "a.parquet"], "MM-E029"),
        (["-o", "a.parquet", "--tracks-only"], "MM-E029"),
        (["{trace}", "{trace}", "-o", "a.json"], "MM-E029"),
        (["-o", "a.json", "--table", "host"], "MM-E028"),
        (["/nowhere/b.json", "-o", "a.json"], "MM-E001"),
    ],
)
def test_what_cannot_be_exported(
    invoke: Invoke,
    sync_trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    outcome = invoke("export", sync_trace, *(word.format(trace=sync_trace) for word in more))

    assert outcome.code == 2
    assert outcome.err.startswith(f"error[{code}]: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["t.json", "-o", "a.txt"], "found: .parquet, .arrow, .csv, .json, .json.gz, .json.zst"),
        (["-", "-", "-o", "a.json"], "found: - twice"),
    ],
)
def test_the_error_names_what_can_be_exported(
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    outcome = invoke("export", *arguments)

    assert outcome.code == 2
    assert found in outcome.err.splitlines()
