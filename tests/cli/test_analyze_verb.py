"""`mmprof analyze`: formats, selections, output files, thresholds."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers import contract
from tests.cli.conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]


def test_the_default_is_for_people(invoke: Invoke, sync_trace: Path) -> None:
    outcome = invoke("analyze", sync_trace)

    assert (outcome.code, outcome.err) == (0, "")
    assert "linear" in outcome.out
    assert "\x1b" not in outcome.out


def test_json_has_the_numbers(invoke: Invoke, sync_trace: Path) -> None:
    outcome = invoke("analyze", sync_trace, "--format", "json")

    document = json.loads(outcome.out)
    jsonschema.validate(document, contract.analysis_schema())
    (device,) = document["devices"]
    assert (outcome.code, outcome.err) == (0, "")
    assert {k: device[k] for k in ("window_ns", "busy_ns", "idle_ns")} == {
        "window_ns": 70_000,
        "busy_ns": 46_000,
        "idle_ns": 24_000,
    }
    assert {row["cause"]: row["time_ns"] for row in device["idle_causes"]} == {
        "sync": 8_000,
        "python": 5_000,
        "dispatch": 5_000,
        "launch": 3_000,
        "queue": 3_000,
    }


@pytest.mark.parametrize("suffix", [".json", ".md", ".csv"])
def test_the_suffix_of_the_output_decides(
    invoke: Invoke, sync_trace: Path, tmp_path: Path, suffix: str
) -> None:
    name = {".json": "json", ".md": "markdown", ".csv": "csv"}[suffix]
    output = tmp_path / f"result{suffix}"

    outcome = invoke("analyze", sync_trace, "--by", "class", "-o", output)

    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert output.read_text() == invoke("analyze", sync_trace, "--by", "class", "-f", name).out


def test_the_format_wins_over_the_suffix(invoke: Invoke, sync_trace: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.txt"

    invoke("analyze", sync_trace, "-o", output, "-f", "json")

    assert json.loads(output.read_text())["schema"] == "mmprof.analysis/1"


def test_an_unknown_suffix(invoke: Invoke, sync_trace: Path, tmp_path: Path) -> None:
    outcome = invoke("analyze", sync_trace, "-o", tmp_path / "result.jsn")

    assert outcome.code == 2
    assert "error[MM-E028]: a format for the suffix '.jsn' does not exist" in outcome.err
    assert "did you mean '.json'?" in outcome.err


def test_a_dash_is_standard_output(invoke: Invoke, sync_trace: Path) -> None:
    assert json.loads(invoke("analyze", sync_trace, "-o", "-", "-f", "json").out)["devices"]


def test_standard_input(sync_trace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmprof", "analyze", "-", "--format", "json"],
        cwd=ROOT,
        input=sync_trace.read_bytes(),
        capture_output=True,
        check=True,
    )

    document = json.loads(done.stdout)
    assert document["inputs"][0]["path"] == "-"
    assert document["inputs"][0]["bytes"] == sync_trace.stat().st_size
    assert document["devices"][0]["window_ns"] == 70_000


def test_a_reader_that_stops_reading_is_no_error(sync_trace: Path) -> None:
    command = [sys.executable, "-m", "mmprof", "analyze", str(sync_trace), "--format", "json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `| head -0` does
        stderr = process.stderr.read()

    assert (process.returncode, stderr) == (0, b"")


def test_by_shows_one_table(invoke: Invoke, sync_trace: Path) -> None:
    by_class = invoke("analyze", sync_trace, "--by", "Class").out
    by_cause = invoke("analyze", sync_trace, "--by", "cause").out

    assert "linear" in by_class
    assert "python" not in by_class
    assert "python" in by_cause
    assert "linear" not in by_cause


def test_top_limits_the_rows(invoke: Invoke, sync_trace: Path) -> None:
    short = invoke("analyze", sync_trace, "--by", "cause", "--top", 1).out

    assert "sync" in short
    assert "dispatch" not in short


def test_the_words_in_the_help_are_tables(invoke: Invoke, sync_trace: Path) -> None:
    words = ("class", "cause", "bound", "op", "kernel", "phase", "module", "shape", "gap")

    assert {
        word: invoke("analyze", sync_trace, "--by", word).code for word in words
    } == dict.fromkeys(words, 0)


def test_rank_and_device_select(invoke: Invoke, two_devices: Path) -> None:
    def devices(*options: object) -> list[int]:
        document = json.loads(invoke("analyze", two_devices, "-f", "json", *options).out)
        return [device["device"] for device in document["devices"]]

    assert devices() == [0, 1]
    assert devices("--device", 1) == [1]
    assert devices("--rank", 0) == [0, 1]


def test_a_selection_of_nothing(invoke: Invoke, two_devices: Path) -> None:
    outcome = invoke("analyze", two_devices, "--device", 7)

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E022]: ")
    assert "device 7" in outcome.err


def test_window_selects(invoke: Invoke, sync_trace: Path) -> None:
    document = json.loads(invoke("analyze", sync_trace, "-f", "json", "--window", "0..10us").out)

    # Launches at 2 and 10 us, time 0 being the first: both lie in it, the third at 70 us does not.
    assert document["window"] == "0..10us"
    assert document["devices"][0]["activities"]["kernel"]["count"] == 1
    assert document["devices"][0]["window_ns"] == 42_000


def test_a_device_specification_gives_the_peaks(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "mine.toml"
    spec.write_text('name = "Mine"\nbandwidth_bytes_per_s = 1e12\npeak_flops = { bf16 = 2e12 }\n')

    document = json.loads(invoke("analyze", sync_trace, "-f", "json", "--device-spec", spec).out)

    roofline = document["devices"][0]["roofline"]
    assert (roofline["device"], roofline["bandwidth_bytes_per_s"]) == ("Mine", 10**12)
    assert roofline["peak_flops"] == {"bf16": 2 * 10**12}


def test_a_device_specification_that_cannot_be_used(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    assert invoke("analyze", sync_trace, "--device-spec", tmp_path / "none.toml").err.startswith(
        "error[MM-E041]"
    )


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("idle_ns>23us", 1),
        ("idle_ns>24us", 0),
        ("idle_share > 34%", 1),
        ("idle_share>0.35", 0),
        ("cause:sync>=10%", 1),
        ("class:attention>0", 0),
    ],
)
def test_fail_on_decides_the_exit_code(
    invoke: Invoke, sync_trace: Path, condition: str, code: int
) -> None:
    outcome = invoke("analyze", sync_trace, "--fail-on", condition)

    assert outcome.code == code
    assert bool(outcome.err) == bool(code)
    assert "linear" in outcome.out


def test_fail_on_says_what_and_by_how_much(invoke: Invoke, two_devices: Path) -> None:
    outcome = invoke(
        "analyze", two_devices, "--fail-on", "idle_ns>4us", "--fail-on", "busy_ns<5us", "--quiet"
    )

    assert outcome.code == 1
    assert outcome.err == (
        "fail-on idle_ns>4us: rank 0 device 1: idle_ns is 10.0 us, 6.00 us above the limit\n"
    )


@pytest.mark.parametrize(
    "condition", ["idle_share", "idle_share>", "idle_share>much", "idle_ns>3weeks", ">3", "a>1>2"]
)
def test_a_condition_that_cannot_be_read_is_found_before_the_trace(
    invoke: Invoke, condition: str
) -> None:
    outcome = invoke("analyze", "no such trace", "--fail-on", condition)

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E023]: cannot read the condition ")


def test_a_condition_on_an_unknown_number_lists_all(invoke: Invoke, sync_trace: Path) -> None:
    outcome = invoke("analyze", sync_trace, "--fail-on", "idle_shar>1")

    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean 'idle_share'?" in outcome.err
    for name in (
        "idle_share",
        "roofline.coverage",
        "class:linear",
        "cause:python",
        "findings.high",
    ):
        assert f" {name}," in outcome.err or f" {name}\n" in outcome.err


class Terminal(io.StringIO):
    """A standard stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_has_colors(
    invoke: Invoke,
    sync_trace: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    colored: bool,
) -> None:
    screen = Terminal()
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", screen)

    assert invoke("analyze", sync_trace).code == 0

    assert ("\x1b[" in screen.getvalue()) == colored


def test_colors_can_be_forced(
    invoke: Invoke, sync_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b[" in invoke("analyze", sync_trace).out


def test_progress_is_shown_only_for_long_work_on_a_terminal(
    invoke: Invoke, sync_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")

    def shown(*options: str) -> str:
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", screen)
            invoke("analyze", sync_trace, *options)
        return screen.getvalue()

    assert shown() == ""
    monkeypatch.setattr("mmprof.cli.progress.LONG_FROM_BYTES", 1)
    assert "analyzing" in shown()
    assert shown("--quiet") == ""


def test_a_folder_of_broken_files_says_what_is_broken(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("nothing")

    outcome = invoke("analyze", tmp_path)

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E003]: ")
    assert "a.json" in outcome.err
    assert "; 2 inputs failed, this is the first" in outcome.err


def test_a_trace_without_the_window_is_left_out(
    invoke: Invoke, sync_trace: Path, tmp_path: Path
) -> None:
    t = TraceBuilder(rank=1)
    t.distributed(2)
    t.annotation("mine", 0, 9_000)
    t.launch("k", at=1_000, call_ns=500, kernel=(2_000, 5_000))
    other = t.write(tmp_path / "other.json")

    found = invoke("analyze", sync_trace, other, "--window", "mine", "-f", "json")
    none = invoke("analyze", sync_trace, other, "--window", "theirs")

    document = json.loads(found.out)
    assert [(d["input"], d["rank"], d["window_ns"]) for d in document["devices"]] == [(1, 1, 3_000)]
    assert document["notes"][0]["code"] == "MM-N022"
    assert document["notes"][0]["message"].startswith(f"{sync_trace} was left out: no phase or")
    assert none.code == 2
    assert none.err.startswith("error[MM-E020]: no phase or annotation is named 'theirs'")
    assert "2 inputs failed" in none.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_for_which_there_is_no_room(sync_trace: Path) -> None:
    command = [sys.executable, "-m", "mmprof", "analyze", str(sync_trace)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error[MM-E031]: cannot write the output\n")
