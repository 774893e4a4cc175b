"""Whole programs: their arguments, output, exceptions and exit codes are their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.script import Command, is_command, parse_command

ROOT = Path(__file__).resolve().parents[2]
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")

WORK = "import torch\ntorch.ones(2) + 1\n"


def trace(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "mmprof", "trace", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["s.py", "--lr", "1"], Command("s.py", arguments=("--lr", "1"))),
        (["-m", "json.tool", "x"], Command(module="json.tool", arguments=("x",))),
        ([sys.executable, "s.py"], Command("s.py")),
        ([sys.executable, "-m", "json.tool"], Command(module="json.tool")),
        (
            [sys.executable, "-X", "dev", "-u", "s.py", "-u"],
            Command("s.py", "", ("-u",), sys.executable, ("-X", "dev", "-u")),
        ),
    ],
)
def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.py").write_text("")

    assert is_command(words)
    assert parse_command(words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.py"], "there is no file none.py"),
        (["python9.99", "s.py"], "there is no python9.99"),
        ([sys.executable], "there is no program to run"),
        ([sys.executable, "-c", "1"], "python -c cannot be traced"),
        (["-m"], "-m needs a module"),
        (["./run.sh"], "./run.sh is no Python program"),
        (["sh", "run.sh"], "sh is no Python program"),
    ],
)
def test_what_is_no_program_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.sh").write_text("#!/bin/sh\n")

    with pytest.raises(MmprofError) as caught:
        parse_command(words)

    assert (caught.value.code, caught.value.message) == ("MM-E055", message)


@pytest.mark.parametrize("words", [["llama"], ["my_module:make"], []])
def test_other_targets_are_no_commands(words: list[str]) -> None:
    assert not is_command(words)


PROGRAM = """
import atexit, os, sys
os.environ["SET_BEFORE"] = str("torch" in sys.modules)
import torch
torch.ones(2) + 1
atexit.register(print, "end")
print(sys.argv, __name__, sys.path[0] == os.path.dirname(os.path.abspath(__file__)), os.environ["SET_BEFORE"])
sys.exit(int(sys.argv[1]))
"""


@needs_torch
def test_a_program_runs_as_it_would_without(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(PROGRAM)

    traced = trace("-o", "t.json.gz", "--", sys.executable, "s.py", "3", "--x", cwd=tmp_path)

    assert traced.stdout == "['s.py', '3', '--x'] __main__ True False\nend\n"
    assert traced.returncode == 3
    first, last = traced.stderr.splitlines()
    assert first.startswith("t.json.gz: ")
    assert last == "next: mmprof analyze t.json.gz"
    assert (tmp_path / "t.json.gz").is_file()
    assert (tmp_path / "t.json.gz.mmprof.json").is_file()


@needs_torch
def test_an_exception_is_shown_as_python_shows_it(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(WORK + "def f():\n    raise ValueError('bad')\nf()\n")

    traced = trace("s.py", cwd=tmp_path)

    assert traced.stderr.splitlines()[:6] == [
        "Traceback (most recent call last):",
        '  File "s.py", line 5, in <module>',
        "    f()",
        '  File "s.py", line 4, in f',
        "    raise ValueError('bad')",
        "ValueError: bad",
    ]
    assert traced.returncode == 1
    assert (tmp_path / "s.json.gz").is_file()


@needs_torch
def test_a_module_and_another_python(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(WORK + "import sys; sys.exit('stopped')")

    traced = trace("--", sys.executable, "-u", "-m", "job", cwd=tmp_path)

    assert traced.returncode == 1
    assert traced.stderr.splitlines()[0] == "stopped"
    assert (tmp_path / "job.json.gz").is_file()


def test_a_program_without_torch_records_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("print('done')")

    traced = trace("s.py", cwd=tmp_path)

    if HAS_TORCH:
        assert (traced.returncode, traced.stdout) == (2, "done\n")
        assert traced.stderr.startswith("error[MM-E058]: nothing was recorded: s.py never imported")
    else:
        assert traced.stderr.startswith("error[MM-E050]: tracing needs torch")
    assert not list(tmp_path.glob("*.gz"))


@needs_torch
def test_a_program_that_profiles_itself_keeps_its_profile(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(
        "import torch\nwith torch.profiler.profile() as p: torch.ones(2) + 1\n"
        "p.export_chrome_trace('own.json')\n"
    )

    traced = trace("s.py", cwd=tmp_path)

    assert "error[MM-E057]: another profiler ended this recording" in traced.stderr
    assert "aten::add" in (tmp_path / "own.json").read_text()


FORKS = """
import os, sys, torch
torch.ones(2) + 1
if not (child := os.fork()):
    print("child", flush=True)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_torch
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_fork_ends_as_it_would_without(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(FORKS)

    traced = trace("s.py", cwd=tmp_path)

    assert (traced.returncode, traced.stdout) == (0, "child\n5\n")
    assert traced.stderr.count("events") == 1


@needs_torch
def test_the_trace_stays_where_the_user_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.py").write_text(f"import os; os.chdir('elsewhere')\n{WORK}os.chdir('/')\n")

    traced = trace("s.py", cwd=tmp_path)

    assert traced.stderr.startswith("s.json.gz: ")
    assert (tmp_path / "s.json.gz").is_file()
    assert (tmp_path / "s.json.gz.mmprof.json").is_file()


@needs_torch
def test_a_program_that_fails_before_torch_keeps_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import sys; sys.exit(3)")

    traced = trace("s.py", cwd=tmp_path)

    assert (traced.returncode, traced.stderr) == (3, "")


@needs_torch
def test_a_program_that_is_terminated_leaves_its_trace(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(f"{WORK}import os; os.kill(os.getpid(), 15)\n")

    traced = trace("s.py", cwd=tmp_path)

    assert traced.returncode == 130
    assert (tmp_path / "s.json.gz").is_file()
