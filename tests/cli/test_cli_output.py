"""Output files are never overwritten unasked, and never seen half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.output import Destination, replacing
from tests.cli.conftest import Invoke


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text("precious")
    return path


def test_an_existing_file_is_kept(invoke: Invoke, taken: Path) -> None:
    outcome = invoke("analyze", "no such trace", "-o", taken)

    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        f"error[MM-E030]: {taken} exists; it was not overwritten",
        "found: 8 bytes",
        "try: another name, or --force to replace it",
    ]
    assert taken.read_text() == "precious"


def test_force_replaces(invoke: Invoke, sync_trace: Path, taken: Path) -> None:
    assert invoke("analyze", sync_trace, "-o", taken, "--force").code == 0
    assert taken.read_text().startswith("{")


def test_nothing_is_left_beside_the_result(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    invoke("analyze", sync_trace, "-o", tmp_path / "a.json")

    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(taken: Path) -> None:
    def write_half() -> None:
        with replacing(taken, force=True) as temporary:
            temporary.write_text("half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()

    assert taken.read_text() == "precious"
    assert [p.name for p in taken.parent.iterdir()] == ["result.json"]


def test_a_file_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"

    def write_both() -> None:
        with replacing(path, force=False) as temporary:
            temporary.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(MmprofError, match="exists"):
        write_both()

    assert path.read_text() == "theirs"


def test_a_folder_that_is_not_there(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("analyze", "no such trace", "-o", tmp_path / "none" / "a.json")

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E031]: cannot write ")


@pytest.mark.skipif(not Path(os.devnull).exists(), reason="no device file here")
def test_a_device_file_is_never_replaced(invoke: Invoke) -> None:
    outcome = invoke("analyze", "no such trace", "-o", os.devnull, "--force", "-f", "json")

    assert outcome.code == 2
    assert '"code": "MM-E031"' in outcome.out
    assert not Path(os.devnull).is_file()


def test_lone_surrogates_are_written_as_escapes(tmp_path: Path) -> None:
    Destination(str(tmp_path / "a.txt")).write("\udc80")

    assert (tmp_path / "a.txt").read_text() == "\\udc80"
