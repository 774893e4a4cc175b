"""`mmprof trace`, `workloads` and `doctor` on the command line."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmprof.tracer import workloads
from tests.cli.conftest import Invoke
from tests.cli.test_help import HEAVY, PRINT_MODULES, ROOT

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)

FAMILY = """
from mmprof.tracer.workload import Family, Option, Size, Task, Workload

def build(request):
    import torch
    from mmprof.tracer.phases import phase
    layer = torch.nn.Linear(4, 4)
    def run():
        with phase("prefill"), torch.no_grad():
            if request.options["fails"] == "no":
                return layer(torch.ones(request.batch, 4))
            raise {"value": ValueError("bad weights"), "memory": MemoryError("full"),
                   "stop": KeyboardInterrupt()}[request.options["fails"]]
    return Workload("toy", {"": layer}, run, {"width": 4})

FAMILY = Family("toy", "A toy.", (Task("T-T", "text to text", ("prefill",)),), (Size("tiny", 20, "nothing"),), build,
                (Option("fails", "no", "How it fails.", ("no", "value", "memory", "stop")),), "nowhere")
"""
QUICK = ("--no-ceilings", "--warmups", 0, "--repeats", 2)


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A family of its own, and an empty folder to write to."""
    families = tmp_path / "families"
    families.mkdir()
    (families / "zz_toy.py").write_text(FAMILY)
    monkeypatch.setattr(workloads, "__path__", [str(families)])
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    sys.modules.pop(f"{workloads.__name__}.zz_toy", None)


@pytest.mark.parametrize("verb", ["trace", "workloads", "doctor"])
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = PRINT_MODULES.format(arguments=[verb, "--help"], heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stderr) == [0, []]


@needs_torch
def test_a_family(invoke: Invoke) -> None:
    outcome = invoke("trace", "toy", *QUICK)

    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, "")
    assert lines[0].startswith("toy-T-T-tiny.json.gz: ")
    assert lines[1].startswith("toy task=T-T size=tiny dtype=float32 batch=1 seed=0 on ")
    assert "without the profiler (median of 2, " in lines[2]
    assert lines[3].endswith(" with it")
    assert lines[4] == "next: mmprof analyze toy-T-T-tiny.json.gz"
    analyzed = json.loads(invoke("analyze", "toy-T-T-tiny.json.gz", "--format", "json").out)
    assert [p["phase"] for p in analyzed["phases"]][:1] == ["prefill"]


@needs_torch
def test_a_family_as_json(invoke: Invoke) -> None:
    outcome = invoke("trace", "toy", "--batch", 3, "-o", "t.json", "--format", "json", *QUICK)

    document = json.loads(outcome.out)
    assert (document["schema"], document["trace"]) == ("mmprof.recording/1", "t.json")
    assert document["sidecar"] == json.loads(Path("t.json.mmprof.json").read_text())
    arguments = document["sidecar"]["workload"]["arguments"]
    assert (arguments["batch"], arguments["width"], arguments["fails"]) == (3, 4, "no")


@needs_torch
def test_a_function_of_ones_own(invoke: Invoke) -> None:
    Path("my_trace_target.py").write_text(
        "import torch\ndef make(n): return torch.nn.Linear(n, 2), torch.ones(1, n)\n"
    )

    outcome = invoke("trace", "my_trace_target:make", "--set", "n=3", *QUICK)

    assert outcome.code == 0
    assert outcome.out.startswith("make.json.gz: ")


@needs_torch
@pytest.mark.parametrize("option", ["batch", "input-length", "output-length"])
def test_what_a_function_of_ones_own_cannot_use_is_refused(invoke: Invoke, option: str) -> None:
    outcome = invoke("trace", "my_trace_target:make", f"--{option}", 3, *QUICK)

    assert outcome.err.startswith(
        f"error[MM-E052]: --{option} has no effect on my_trace_target:make"
    )


@needs_torch
def test_a_length_that_the_family_lacks_is_not_told(invoke: Invoke) -> None:
    invoke("trace", "toy", "--output-length", 7, "-o", "t.json", *QUICK)

    arguments = json.loads(Path("t.json.mmprof.json").read_text())["workload"]["arguments"]
    assert "output_length" not in arguments
    assert arguments["seed"] == 0


@needs_torch
@pytest.mark.parametrize(
    ("fails", "exit_code", "error"),
    [
        ("value", 2, "error[MM-E060]: the workload failed: ValueError: bad weights"),
        ("memory", 2, "error[MM-E061]: out of memory: MemoryError: full"),
        ("stop", 130, "error[MM-E062]: interrupted"),
    ],
)
def test_a_failure_names_the_trace_that_is_left(
    invoke: Invoke, fails: str, exit_code: int, error: str
) -> None:
    outcome = invoke(
        "trace",
        "toy",
        "--set",
        f"fails={fails}",
        "-o",
        "t.json",
        "--no-ceilings",
        "--warmups",
        0,
        "--repeats",
        0,
    )

    first, found, hint = outcome.err.splitlines()
    assert (outcome.code, outcome.out, first) == (exit_code, "", error)
    assert found.startswith("found: a trace of what it did until then: t.json: ")
    assert hint.startswith("try: ")
    assert Path("t.json").is_file()
    assert json.loads(Path("t.json.mmprof.json").read_text())["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["tov"], "MM-E053", "did you mean 'toy'?"),
        (["toy", "--task", "T-S"], "MM-E053", "did you mean 'T-T'?"),
        (["toy", "--size", "tinny"], "MM-E053", "did you mean 'tiny'?"),
        (["toy", "--dtype", "floot32"], "MM-E053", "did you mean 'float32'?"),
        (["toy", "--set", "fail=no"], "MM-E053", "did you mean 'fails'?"),
        (["toy", "--set", "fails"], "MM-E052", "--set fails=VALUE"),
        (["toy", "--format", "jsn"], "MM-E028", "did you mean 'json'?"),
        (["toy", "-o", "t.txt"], "MM-E056", "t.json.gz"),
        (["toy", "-o", "none/t.json"], "MM-E031", "another path"),
        (["toy", "tov"], "MM-E052", "mmprof trace FAMILY, MODULE:FUNCTION"),
        ([], "MM-E052", "mmprof trace FAMILY, MODULE:FUNCTION"),
        (["--hf", "x", "toy"], "MM-E052", "mmprof trace FAMILY, MODULE:FUNCTION"),
        (["--batch", 2, "--", "none.py"], "MM-E052", "leave it out"),
        (["--steps", 2, "--", "none.py"], "MM-E052", "leave it out"),
        (["--", "none.py"], "MM-E055", "check the path"),
    ],
)
def test_wrong_use_is_found_before_anything_is_loaded(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, arguments: list[object], code: str, hint: str
) -> None:
    monkeypatch.setitem(sys.modules, "mmprof.tracer.tracing", None)

    outcome = invoke("trace", *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert f"try: {hint}" in outcome.err


@needs_torch
@pytest.mark.parametrize("device", ["gpu", "cpu:7", "cuda:99"])
def test_a_device_that_is_not_there(invoke: Invoke, device: str) -> None:
    outcome = invoke("trace", "toy", "--device", device)

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E053]: ")
    assert device.partition(":")[0] in outcome.err


def test_an_existing_trace_is_kept(invoke: Invoke) -> None:
    Path("toy-T-T-tiny.json.gz").write_text("mine")

    outcome = invoke("trace", "toy")

    assert outcome.err.startswith("error[MM-E030]: toy-T-T-tiny.json.gz exists")
    assert Path("toy-T-T-tiny.json.gz").read_text() == "mine"


def test_without_torch(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )

    outcome = invoke("trace", "toy")

    assert outcome.err.splitlines() == [
        "error[MM-E050]: tracing needs torch, which is not installed",
        f"found: {sys.executable}",
        "try: pip install 'mmprof[trace]'",
    ]
    assert "pip install 'mmprof[trace]'" in invoke("doctor").out


def test_the_list_of_workloads(invoke: Invoke) -> None:
    lines = invoke("workloads").out.splitlines()

    assert lines[2].split() == ["toy", "T-T", "tiny", "20", "nothing"]
    assert lines[3].startswith("`mmprof workloads FAMILY`")


def test_one_workload(invoke: Invoke) -> None:
    shown = invoke("workloads", "toy").out

    assert "text to text   prefill" in shown
    assert "--set fails=no" in shown
    assert "no value memory stop" in shown


def test_workloads_as_json(invoke: Invoke) -> None:
    document = json.loads(invoke("workloads", "--format", "json").out)

    assert document["schema"] == "mmprof.workloads/1"
    assert document["rows"][0]["sizes"] == [{"name": "tiny", "parameters": 20, "needs": "nothing"}]
    assert document["rows"][0]["options"][0]["choices"] == ["no", "value", "memory", "stop"]


def test_a_workload_that_does_not_exist(invoke: Invoke) -> None:
    assert "try: did you mean 'toy'?" in invoke("workloads", "tyo").err


@needs_torch
def test_the_doctor_finds_the_profiler_working(invoke: Invoke) -> None:
    outcome = invoke("doctor", "--format", "json")

    rows = {row["what"]: row for row in json.loads(outcome.out)["rows"]}
    assert outcome.code == 0
    assert rows["profiler on cpu"]["found"].endswith(" events")
    assert not rows["profiler on cpu"]["found"].startswith("0 ")
