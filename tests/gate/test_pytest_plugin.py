"""The pytest plugin in small projects of its own."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmprof.cli.pytest_gate.marks import limits
from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest_plugins = ["pytester"]

PLUGIN = "mmprof.cli.pytest_gate"
HEAVY = ("polars", "torch", "rich", "typer", "msgspec", "mmprof.analyzers", "mmprof.tracer")
MODEL = """
import pytest, torch

def work():
    x = torch.ones(64, 256)
    for _ in range(5):
        x = (x @ torch.ones(256, 256)).relu()

@pytest.mark.mmprof(max_idle_share=1, max_step_ms=60_000, max_peak_memory_mib=100)
def test_within():
    work()

@pytest.mark.mmprof(max_idle_share=1, max_activities=2)
def test_crossed():
    work()

@pytest.mark.mmprof(max_activities=2)
class TestNearest:
    @pytest.mark.mmprof(max_activities=1000)
    def test_the_nearer_mark_wins(self):
        work()

@pytest.mark.mmprof(max_activities=1)
def test_its_own_failure_comes_first():
    work()
    assert 1 == 2

def test_fixture(mmprof_trace, tmp_path):
    with mmprof_trace() as run:
        work()
    with mmprof_trace() as other:
        torch.ones(2)
    assert (run.path.parent, other.path.name) == (tmp_path, "mmprof-trace-2.json.gz")
    assert run.metrics["activities"] > other.metrics["activities"] > 0
    assert run.report.value("window_ns") == run.metrics["window_time"]
    run.check("idle_share>1", "busy_time>+0%", baseline=run.path)
    run.check("activities>2")

def test_without_a_condition(mmprof_trace):
    with mmprof_trace() as run:
        work()
    run.check()

@pytest.mark.mmprof(max_idle_share=40)
def test_a_share_in_percent():
    work()
"""


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest in a process of its own, with the plugin and no other that is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments: str) -> pytest.RunResult:
        strict = ("-W", "error", "--strict-markers")
        return pytester.runpytest_subprocess("-p", PLUGIN, *strict, *arguments, timeout=120)

    return run


def test_recorded_tests(pytester: pytest.Pytester, run_pytest) -> None:
    # not importorskip: pytester forgets modules that a test imports, and torch cannot be imported twice
    if find_spec("torch") is None:
        pytest.skip("recording needs torch")
    pytester.makepyfile(MODEL)

    result = run_pytest()

    result.assert_outcomes(passed=2, failed=5)
    out = result.stdout
    out.fnmatch_lines(
        [
            "*mmprof: 1 of 2 conditions is crossed",
            "  max_activities=2: activities is *, * above the limit of 2",
            "CPU, main thread: in operators * %*",
            "mmprof analyze *test_crossed0/mmprof-trace.json.gz",
            "E       assert 1 == 2",
            "*mmprof: 1 condition is crossed",
            "  check: activities is *, * above the limit of 2",
            "mmprof MM-E084: the marker mmprof limits nothing",
            "mmprof MM-E023: the limit of 'idle_share>40' does not fit 'idle_share'",
        ]
    )
    out.no_fnmatch_line("*During handling of*")


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("max_idle_shares=1", "mmprof MM-E084: the marker mmprof has no keyword 'max_idle_shares'"),
        (
            "max_idle_share='1'",
            "mmprof MM-E084: the marker mmprof takes a number for max_idle_share",
        ),
        ("0.4", "mmprof MM-E084: the marker mmprof takes keywords only"),
        ("", "mmprof MM-E084: the marker mmprof limits nothing"),
        (
            "fail_on=3",
            "mmprof MM-E084: the marker mmprof takes a condition or a list of them for fail_on",
        ),
        (
            "max_step_ms=1, baseline=3",
            "mmprof MM-E084: the marker mmprof takes a path for baseline",
        ),
        (
            "max_step_ms=1, strict='no'",
            "mmprof MM-E084: the marker mmprof takes True or False for strict",
        ),
        ("max_step_ms=1", "mmprof MM-E050: recording a test needs torch"),
    ],
)
def test_what_cannot_be_recorded(
    pytester: pytest.Pytester, run_pytest, mark: str, told: str
) -> None:
    pytester.makepyfile(
        f"""
        import sys, pytest
        sys.modules["torch"] = None

        @pytest.mark.mmprof({mark})
        def test_marked():
            raise AssertionError("its body must not run")
        """
    )
    result = run_pytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([told])
    result.stdout.no_fnmatch_line("*must not run*")
    result.stdout.no_fnmatch_line("*During handling of*")


def test_a_typo_is_answered_with_the_nearest_keyword(pytester: pytest.Pytester, run_pytest) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.mmprof(max_idle=1)\ndef test_marked(): pass")

    run_pytest().stdout.fnmatch_lines(
        ["found: max_step_ms, *, fail_on, baseline, strict", "try: did you mean 'max_idle_ms'?"]
    )


def test_what_pytest_does_not_call_itself_fails(pytester: pytest.Pytester, run_pytest) -> None:
    """Such a test would pass, whatever its limits."""
    pytester.makepyfile(
        """
        import pytest, unittest

        class TestOld(unittest.TestCase):
            @pytest.mark.mmprof(max_idle_share=0)
            def test_marked(self): pass

            def test_plain(self): pass
        """
    )
    result = run_pytest()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["the marker mmprof works for test functions of pytest only*"])


class _Float(float):
    """As numpy's: a float that calls itself otherwise."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


def test_numbers_of_other_libraries(tmp_path: Path) -> None:
    asked = limits({"max_idle_share": _Float(0.5)}, folder=tmp_path)

    assert asked.conditions == (("idle_share>0.5", "max_idle_share=0.5"),)


def test_tests_that_do_not_ask_are_left_alone(pytester: pytest.Pytester, run_pytest) -> None:
    pytester.makepyfile(
        f"""
        import json, pathlib, sys

        def test_plain(request):
            assert "tmp_path" not in request.fixturenames
            heavy = [m for m in {HEAVY!r} if m in sys.modules]
            pathlib.Path("heavy.json").write_text(json.dumps(heavy))
        """
    )
    run_pytest().assert_outcomes(passed=1)

    assert json.loads((pytester.path / "heavy.json").read_text()) == []


def test_the_marker_is_listed(run_pytest) -> None:
    run_pytest("--markers").stdout.fnmatch_lines(["@pytest.mark.mmprof(max_idle_share=*"])


def test_the_package_names_its_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"mmprof": PLUGIN}
    assert importlib.import_module(PLUGIN).pytest_configure
