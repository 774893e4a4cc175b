"""`mmprof optimize` and `mmprof runs` from a command to a program that runs by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmprof.cli.main import main
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.optimization import RENDERERS
from mmprof.cli.renderers.optimization.program import program
from mmprof.cli.verbs.optimize import seconds_of
from mmprof.tracer.optimization.records import BaselineMeasured, Compared, Record
from mmprof.tracer.optimization.sides import Timetable
from mmprof.tracer.optimization.store import runs_in
from mmprof.tracer.order import Subject, Wish
from mmprof.tracer.verify_results import (
    Baseline,
    LeverResult,
    OutputCheck,
    Predicted,
    Rung,
    SearchFacts,
    Untried,
    Verification,
    verification_schema,
)
from tests.conftest import ROOT
from tests.processes import runs_on

OWN = ROOT / "tests" / "tracer"
FATALLY = ("--time-limit=40", "--budget=15m", "--exact-only")
BRIEFLY = ("--precision=20%", "--max-time=1", "--time-limit=60", "--format=json")

FOUND = Verification(
    workload={"name": "llama", "task": "T-T", "size": "tiny"},
    device="cpu",
    device_name="a CPU",
    clock="cpu",
    threads=1,
    versions={},
    baseline=Baseline(
        runs_s=[0.02, 0.04],
        median_s=0.03,
        interval_s=(0.02, 0.04),
        peak_bytes=1 << 30,
        deterministic=True,
        noise=1.015,
        idle_share=0.5,
    ),
    levers=[
        LeverResult(
            lever="sdpa",
            verdict="verified",
            exactness="reassociation",
            speedup=1.25,
            interval=(1.004, 1.5),
            predicted=Predicted(1.1, 1.4, 2.25),
            output_check=OutputCheck(ok=True, detail="same greedy choices"),
            setup_cost_s=0.25,
        ),
        LeverResult(
            lever="dtype",
            on=["sdpa"],
            verdict="failed",
            exactness="lossy",
            reason="the process was killed by SIGKILL",
        ),
        LeverResult(
            lever="tf32", verdict="not applicable", exactness="lossy", reason="needs a GPU"
        ),
    ],
    ladder=[
        Rung(
            levers=["sdpa"],
            added="sdpa",
            verdict="verified",
            speedup=1.25,
            interval=(1.004, 1.5),
            predicted=Predicted(1.1, 1.4, 2.25),
            idle_share=0.125,
            peak_bytes=1 << 20,
            exactness="reassociation",
            output_check=OutputCheck(ok=True, detail="same greedy choices"),
        )
    ],
    search=SearchFacts(
        conclusion="sdpa is verified to make it faster",
        confirmed=True,
        complete=True,
        budget_s=300,
        spent_s=75,
        measured=4,
        reused=1,
        exhaustive=31,
        best_exact=["sdpa"],
        untried=[Untried("static_kv_cache", "no copy appends to a cache")],
        run="abc",
    ),
)
NOTHING = msgspec.structs.replace(
    FOUND,
    ladder=[],
    search=msgspec.structs.replace(FOUND.search, conclusion="nothing helps", confirmed=None),
)


@pytest.mark.parametrize("format_name", ["terminal", "markdown"])
def test_each_number_is_shown(format_name: str) -> None:
    shown = RENDERERS[format_name](FOUND, RenderOptions(width=120)).replace("&#43;", "+")
    for part in (
        "sdpa: 1.250x (1.004x to 1.500x), reassociation, verified.",
        "4 comparisons, 1 of them reused, of the 31",
        "75.0 s of 300 s",
        "50.0 %",
        "12.5 %",
        "1.00 MiB",
        "1.10x to 2.25x",
        "250 ms",
        "dtype on sdpa: the process was killed by SIGKILL",
        "no copy appends to a cache",
        "needs a GPU",
    ):
        assert part in shown, part


def test_a_stack_that_was_not_confirmed_says_so() -> None:
    unsure = msgspec.structs.replace(FOUND.search, confirmed=False, complete=False)
    shown = RENDERERS["markdown"](msgspec.structs.replace(FOUND, search=unsure), RenderOptions())
    assert "no time to confirm it in fresh processes" in shown
    assert "the budget ended before every lever was tried" in shown


def test_nothing_helps_is_the_first_that_is_said() -> None:
    assert RENDERERS["terminal"](NOTHING, RenderOptions()).startswith("nothing helps.")


def test_the_json_is_the_document_and_fits_its_schema() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    document = json.loads(RENDERERS["json"](FOUND, RenderOptions()))
    validator(verification_schema()).validate(document)
    # design, section 6
    assert {"levers", "speedup", "interval", "idle_share", "exactness"} <= set(
        document["ladder"][0]
    )
    assert msgspec.convert(document, Verification) == FOUND


def test_a_program_of_hostile_names_is_still_the_same_program() -> None:
    evil = 'm:f"""\nimport os\n# {x}'
    found = msgspec.structs.replace(FOUND, workload={"name": evil})
    text = program(Subject(target=evil, wish=Wish(settings=[evil])), found, {"sdpa": evil})
    compile(text, "optimized.py", "exec")
    assert "\nimport os" not in text
    assert f"LEVERS = [{evil!r}]" in text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("12", 12), ("0.5m", 30)]
)
def test_budgets(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["llama", "--budget", "soon"], "--budget takes a time"),
        (["llama", "--budget", "0s"], "--budget takes a time"),
        (["llama", "--quality-budget", "much"], "--quality-budget takes a share"),
        (["lama"], "did you mean 'llama'?"),
        ([], "optimize takes one target"),
        (["llama", "--emit", "there.py"], "there.py exists"),
        (["llama", "--lever", "sdp"], "did you mean 'sdpa'?"),
        (["--model", "bytes", "--size", "tiny"], "--size has no effect with --model"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.py").write_text("mine")
    assert main(["optimize", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert Path("there.py").read_text() == "mine"


def test_a_store_that_cannot_be_made_is_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "runs"
    monkeypatch.setattr("mmprof.tracer.verify_sides.TrialProcess", None)  # nothing can run
    assert main(["optimize", "llama", "--store", str(store)]) == 2
    assert f"cannot write {store}" in capsys.readouterr().err


def test_an_interrupted_search_says_where_it_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")

    def interrupted(order: object) -> Verification:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmprof.tracer.optimization.optimize.optimize", interrupted)
    assert main(["optimize", "llama", "--store", str(tmp_path / "runs")]) == 130
    assert f"is kept in {tmp_path / 'runs'}" in capsys.readouterr().err


def test_no_runs_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["runs", "--store", str(tmp_path)]) == 0
    assert "No runs in" in capsys.readouterr().out


def test_a_reason_is_wrapped_and_not_cut() -> None:
    reason = "no attention with softmax that runs in its eager form and can be switched to another"
    assert FOUND.search is not None
    search = msgspec.structs.replace(FOUND.search, untried=[Untried("sdpa", reason)])
    found = msgspec.structs.replace(FOUND, search=search)
    shown = RENDERERS["terminal"](found, RenderOptions(width=60))
    assert max(map(len, shown.splitlines())) <= 60
    assert reason in " ".join(shown.split())


Optimize = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def optimize(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Optimize:
    """Run `mmprof optimize` on targets and levers of the tests; its exit code and document."""
    pytest.importorskip("torch")
    monkeypatch.chdir(OWN)

    def run(target: str, *levers: str, more: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
        named = [f"--lever=own_levers:{name}" for name in levers]
        store = f"--store={tmp_path / 'runs'}"
        code = main(["optimize", f"own_target:{target}", *named, store, *BRIEFLY, *more])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.mark.slow
def test_each_failure_is_a_verdict_and_the_stack_runs_in_a_program_of_its_own(
    optimize: Optimize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emitted = tmp_path / "optimized.py"
    levers = ("FAST", "RAISES", "EXHAUSTS", "UNCOMPILED", "ONE_BIT", "ELSEWHERE")
    code, found = optimize("make", *levers, more=(f"--emit={emitted}", "--fail-under=1000"))
    assert code == 1
    assert {result["lever"]: result["verdict"] for result in found["levers"]} == {
        "fast": "verified",
        "raises": "failed",
        "exhausts": "failed",
        "uncompiled": "failed",
        "one_bit": "outputs differ",
        "elsewhere": "not applicable",
    }
    reasons = {result["lever"]: result["reason"] for result in found["levers"]}
    assert reasons["exhausts"].startswith("out of memory")
    assert "the compiler cannot lower this" in reasons["uncompiled"]
    assert [rung["levers"] for rung in found["ladder"]] == [["fast"]]
    assert found["ladder"][0]["interval"][0] > 1.5
    assert 0 <= found["ladder"][0]["idle_share"] < 1
    assert found["search"]["confirmed"]
    _runs_as_fast(emitted, found)
    assert main(["runs", f"--store={tmp_path / 'runs'}", "--format=json"]) == 0
    assert "own_target:make" in capsys.readouterr().out


def _runs_as_fast(emitted: Path, found: dict[str, Any]) -> None:
    """The program takes less than the baseline, on a busy machine as well: the lever makes it eight times faster."""
    done = subprocess.run(
        [sys.executable, str(emitted)],
        cwd=OWN,
        env=os.environ | {"PYTHONPATH": str(OWN)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.fullmatch(r"median of 10 requests ([\d.]+) ms, with own_levers:FAST\n", done.stdout)
    assert told, done.stdout
    assert "Traceback" not in done.stderr  # levers that stayed applied are undone in time
    assert float(told[1]) < 1e3 * found["baseline"]["median_s"]


@pytest.mark.slow
def test_a_lever_that_takes_the_process_down_is_a_verdict_and_the_search_goes_on(
    optimize: Optimize,
) -> None:
    fatal = {
        "leaves": "the process exited with 7",
        "hangs": "no answer within 40 s",
        "garbles": "the process answered something else",
        "allocates": "out of memory",
        "raises_later": "RuntimeError: lost the device",
        "cannot_tell": "no such attribute",
        "kills_at_once": "the process was killed by SIGKILL",
        "kills_baseline": "the process was killed by SIGKILL",
    }
    names = [*(name.upper() for name in fatal), "AT_RANDOM", "FAST"]
    code, found = optimize("make", *names, more=FATALLY)
    assert code == 0
    results = {result["lever"]: result for result in found["levers"]}
    assert {n: r["verdict"] for n, r in results.items()} == dict.fromkeys(fatal, "failed") | {
        "fast": "verified"
    }
    for name, reason in fatal.items():
        assert reason in results[name]["reason"], name
    assert [untried["lever"] for untried in found["search"]["untried"]] == ["at_random"]
    assert found["search"]["complete"]
    rung = found["ladder"][-1]
    assert rung["levers"] == ["fast"]
    # what explains it: the parts of both requests sum to their windows
    before, after = found["baseline"]["recorded"], rung["recorded"]
    for which, whole in (("before_ns", before), ("after_ns", after)):
        assert sum(part[which] for part in rung["changed"]) == whole["window_ns"]
    assert after["classes_ns"]["linear"] < before["classes_ns"]["linear"]


@pytest.mark.slow
def test_random_outputs_end_the_search_with_a_reason(optimize: Optimize) -> None:
    code, found = optimize("make_random", "FAST", "SLOW")
    assert code == 0
    assert found["ladder"] == []
    assert "the outputs of two baselines differ" in found["search"]["conclusion"]
    assert {untried["lever"] for untried in found["search"]["untried"]} == {"fast", "slow"}


@pytest.mark.slow
def test_a_search_that_is_killed_twice_loses_no_finished_measurement(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    store = tmp_path / "runs"
    command = [
        *(sys.executable, "-m", "mmprof", "optimize", "own_target:make", *BRIEFLY),
        *("--lever=own_levers:FAST", f"--store={store}"),
    ]
    kept: list[Record] = []
    for kind in (BaselineMeasured, Compared):
        _kill_once_there_is(kind, command, store)
        (run,) = runs_in(store)
        assert run.records[: len(kept)] == kept
        kept = run.records
    done = subprocess.run(command, cwd=OWN, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["search"]["reused"] >= 1
    (run,) = runs_in(store)
    assert run.records[: len(kept)] == kept
    assert len(run.of(BaselineMeasured)) == 1
    # nothing is left to measure a third time
    again = json.loads(subprocess.run(command, cwd=OWN, capture_output=True, check=True).stdout)
    assert again["search"]["reused"] == again["search"]["measured"]
    assert again["ladder"] == found["ladder"]


def _kill_once_there_is(kind: type[Record], command: list[str], store: Path) -> None:
    """End a search as a user's `kill -9` does, once it has kept a record of a kind; nothing of it runs on."""
    search = subprocess.Popen(
        command, cwd=OWN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until(lambda: any(run.of(kind) for run in runs_in(store)), seconds=120)
        trials = _children(search.pid)
    finally:
        search.kill()
        search.wait()
    _wait_until(lambda: not any(map(runs_on, trials)), seconds=20)


def _children(process: int) -> list[str]:
    """Processes that it has started; none where it has ended meanwhile."""
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []


def _wait_until(met: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.1)


def test_what_is_tried_leaves_time_for_the_others() -> None:
    timetable = Timetable(300.0, search_share=0.8, start=time.monotonic())
    # half of the 240 s in which something new is tried
    assert timetable.limit_s(600.0) == pytest.approx(120, abs=1)
    assert timetable.limit_s(30.0) == 30
    # never too little to import a framework
    assert Timetable(1.0).limit_s(600.0) == 10
