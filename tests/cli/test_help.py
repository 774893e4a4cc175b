"""Help is instant, complete, and the same for -h and --help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mmprof
from mmprof.cli import verbs
from tests.cli.conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]
VERBS = sorted(p.stem for p in Path(verbs.__file__).parent.glob("[a-z]*.py"))
HEAVY = (
    "polars",
    "torch",
    "scipy",
    "numpy",
    "isal",
    "msgspec",
    "rich",
    "zstandard",
    "jinja2",
    "duckdb",
)
PRINT_MODULES = """
import json, sys
from mmprof.cli.main import main
code = main({arguments!r})
sys.stderr.write(json.dumps([code, [m for m in {heavy!r} if m in sys.modules]]))
"""

PRINT_HELP_AFTER_A_VERB = """
from mmprof.cli.main import main
main(["trace", "--help"])
main(["--help"])
"""


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["analyze", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = PRINT_MODULES.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stderr) == [0, []]
    assert done.stdout


def test_a_verb_that_runs_imports_no_other() -> None:
    others = [f"{verbs.__name__}.{verb}" for verb in VERBS if verb != "explain"]
    code = PRINT_MODULES.format(arguments=["explain", "MM-N003"], heavy=others)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stderr) == [0, []]


def test_help_is_in_the_same_order_after_a_verb_has_run(invoke: Invoke) -> None:
    code = PRINT_HELP_AFTER_A_VERB
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith(invoke("--help").out)


def test_every_verb_is_listed_with_a_whole_sentence(invoke: Invoke) -> None:
    lines = {
        line.split()[0]: line
        for line in invoke("--help").out.partition("Commands:")[2].splitlines()
        if line
    }

    assert sorted(lines) == VERBS
    assert not [line for line in lines.values() if line.endswith("...")]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(invoke: Invoke, verb: str) -> None:
    long, short = invoke(verb, "--help"), invoke(verb, "-h")

    assert long.code == 0
    assert long.out.startswith(f"Usage: mmprof {verb}")
    assert short.out == long.out


def test_without_arguments_help_goes_to_standard_error(invoke: Invoke) -> None:
    outcome = invoke()

    assert outcome.code == 2
    assert outcome.out == ""
    assert "Commands:" in outcome.err


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").out == f"mmprof {mmprof.__version__}\n"


def test_running_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmprof", "-h"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout.startswith("Usage: mmprof ")
