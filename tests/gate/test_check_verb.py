"""`mmprof check` and `mmprof baseline` on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mmprof import __version__
from mmprof.analyzers.errors import MmprofError
from mmprof.cli.output import Destination
from tests.cli.conftest import Invoke
from tests.gate.conftest import STEADY_US, WriteLoop

SLOWER_US = tuple(us + 8 for us in STEADY_US)


@pytest.fixture(autouse=True)
def _outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this repository's settings nor a workflow's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def base(invoke: Invoke, write_loop: WriteLoop) -> Path:
    assert invoke("baseline", "save", write_loop("before.json"), "-o", "base.json").code == 0
    return Path("base.json")


def test_exit_codes(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    slower = write_loop("after.json", SLOWER_US)
    codes = [
        invoke("check", slower, "--baseline", base, "--fail-on", condition).code
        for condition in ("busy_time>+30%", "busy_time>+5%", "busy_tim>+5%")
    ]

    assert codes == [0, 1, 2]


def test_what_is_crossed_is_said(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    outcome = invoke(
        "check",
        write_loop("after.json", SLOWER_US),
        "--baseline",
        base,
        "--fail-on",
        "busy_time>+5%",
    )

    assert outcome.out.splitlines()[0] == "FAIL: 1 condition is crossed"
    told = " ".join(outcome.out.split())
    assert (
        "busy_time>+5% (--fail-on), rank 0, device 0: busy_time is 49.0 us, 5.95 us above the limit of 43.0 us "
        "(baseline 41.0 us, +19.5 %)"
    ) in told
    assert "Significant: the median moved by" in told
    assert outcome.err == ""


def test_a_trace_can_be_the_baseline(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    before, after = write_loop("b.json"), write_loop("after.json", SLOWER_US)
    found = [
        json.loads(
            invoke("check", after, "--baseline", b, "--fail-on", "busy_time>+5%", "-f", "json").out
        )
        for b in (base, before)
    ]

    assert found[0]["judgements"] == found[1]["judgements"]
    assert found[0]["judgements"][0]["baseline"] == 41_000


def test_a_trace_against_itself_passes(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    conditions = [
        word
        for name in ("step_time", "idle_share", "class.linear.time", "cause.launch.share")
        for word in ("--fail-on", f"{name}>+0%")
    ]
    outcome = invoke("check", write_loop("same.json"), "--baseline", base, *conditions)

    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "PASS: 4 conditions are kept"


def test_another_device_is_refused(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    other = write_loop("a100.json", hardware="a100")
    arguments = ("check", other, "--baseline", base, "--fail-on", "busy_time>+5%")

    refused, forced = invoke(*arguments), invoke(*arguments, "--anyway")

    assert (refused.code, forced.code) == (2, 0)
    assert refused.err.startswith("error[MM-E082]: base.json and this trace cannot be compared")
    assert "Not comparable, compared anyway: rank 0, device 0: device: " in forced.out


def test_conditions_come_from_the_project_as_well(
    invoke: Invoke, write_loop: WriteLoop, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pyproject.toml").write_text(
        '[tool.mmprof]\nfail_on = ["busy_time>+5%"]\nbaseline = "base.json"\n'
    )
    after = write_loop("after.json", SLOWER_US)
    Path("inner").mkdir()
    monkeypatch.chdir("inner")
    outcome = invoke("check", after, "--fail-on", "idle_share>99%", "-f", "json")

    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert [(j["condition"], j["origin"], j["status"]) for j in document["judgements"]] == [
        ("busy_time>+5%", "pyproject.toml", "crossed"),
        ("idle_share>99%", "--fail-on", "ok"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("fail_om = []", "tool.mmprof.fail_om does not exist", "did you mean 'fail_on'?"),
        ('fail_on = "x>1"', "tool.mmprof.fail_on is no list of conditions", ""),
        ("fail_on = [1]", "tool.mmprof.fail_on[0] is no string", ""),
        ('fail_on = ["x>1", "x"]', "tool.mmprof.fail_on[1] cannot be read: 'x'", ""),
        ('fail_on = ["x>+1"]\nbaseline = "no.json"', "tool.mmprof.baseline names no file", ""),
        ("strict = 1", "tool.mmprof.strict is no boolean", ""),
        ("strict = ", "cannot be read", "TOML in UTF-8"),
    ],
)
def test_a_bad_setting_is_named(invoke: Invoke, text: str, message: str, hint: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.mmprof]\n{text}\n")
    outcome = invoke("check", "t.json")

    assert outcome.code == 2
    first = outcome.err.splitlines()[0]
    assert first.startswith("error[MM-E083]: ")
    assert "pyproject.toml" in first
    assert message in first
    assert hint in outcome.err


def test_a_project_without_the_table_is_passed_by(invoke: Invoke) -> None:
    Path("pyproject.toml").write_text("[tool.mmprof]\nfail_on = ['x']\n")
    Path("inner").mkdir()
    (Path("inner") / "pyproject.toml").write_text("[tool.other]\n")

    assert "fail_on[0]" in invoke("check", "t.json").err


def test_nothing_to_check(invoke: Invoke, write_loop: WriteLoop) -> None:
    assert invoke("check", write_loop("t.json")).err.startswith("error[MM-E080]: ")
    assert invoke("check").err.startswith("error[MM-E029]: ")


def test_a_baseline_is_never_overwritten(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    saved = base.read_bytes()
    other = write_loop("after.json", SLOWER_US)

    assert invoke("baseline", "save", other, "-o", base).code == 2
    assert base.read_bytes() == saved
    assert invoke("baseline", "save", other, "-o", base, "--force").code == 0
    assert base.read_bytes() != saved


@pytest.mark.parametrize(
    "damage", [b'"schema": "mmprof.baseline/2"', b'"schema": "mmprof.baseline/1", "devices": 3']
)
def test_a_baseline_that_cannot_be_read(
    invoke: Invoke, write_loop: WriteLoop, base: Path, damage: bytes
) -> None:
    base.write_bytes(base.read_bytes().replace(b'"schema": "mmprof.baseline/1"', damage))
    outcome = invoke(
        "check", write_loop("t.json"), "--baseline", base, "--fail-on", "busy_time>+5%"
    )

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E081]: the baseline base.json cannot be used")


def test_documents_fit_their_schemas(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    arguments = ("--baseline", base, "--fail-on", "busy_time>+5%", "--fail-on", "idle_share>0.1")
    checked = invoke("check", write_loop("after.json", SLOWER_US), *arguments, "-f", "json").out
    documents = {"check": json.loads(checked), "baseline": json.loads(base.read_text())}

    for name, document in documents.items():
        schema = json.loads(invoke("schema", name).out)
        jsonschema.Draft202012Validator(schema).validate(document)
        assert document["schema"] == schema["$id"] == f"mmprof.{name}/1"


def test_metrics_are_listed(invoke: Invoke, write_loop: WriteLoop, base: Path) -> None:
    catalog = json.loads(invoke("check", "--list-metrics", "-f", "json").out)
    of_trace = json.loads(invoke("check", write_loop("t.json"), "--list-metrics", "-f", "json").out)
    of_baseline = json.loads(invoke("baseline", "show", base, "-f", "json").out)

    assert {"step_time", "class.NAME.time"} <= {row["metric"] for row in catalog["rows"]}
    (busy,) = [row for row in of_trace["rows"] if row["metric"] == "busy_time"]
    assert (busy["value"], busy["unit"], busy["samples"]) == (41_000, "ns", 8)
    assert of_baseline["rows"] == of_trace["rows"]


def test_what_analyze_knows_check_knows(invoke: Invoke, write_loop: WriteLoop) -> None:
    names = ("idle_share", "class:linear", "cause:launch", "findings.high", "phase:step.count")
    never, always = (
        [word for name in names for word in ("--fail-on", f"{name}{bound}")]
        for bound in ("<0", ">=0")
    )
    trace = write_loop("t.json")

    assert [invoke(verb, trace, *never).code for verb in ("analyze", "check")] == [0, 0]
    assert len(invoke("analyze", trace, *always).err.splitlines()) == len(names)
    assert invoke("check", trace, *always).out.startswith("FAIL: 5 of 5 conditions are crossed")


def test_analyze_takes_no_changes(invoke: Invoke, write_loop: WriteLoop) -> None:
    outcome = invoke("analyze", write_loop("t.json"), "--fail-on", "busy_ns>+5%")

    assert outcome.code == 2
    assert "mmprof check TRACE --baseline BASE" in outcome.err


def edited(base: Path, change: Callable[[dict[str, Any]], object], name: str = "e.json") -> Path:
    document = json.loads(base.read_text())
    change(document)
    path = base.with_name(name)
    path.write_text(json.dumps(document, sort_keys=True, indent=2))
    return path


def test_a_baseline_is_known_by_its_schema_wherever_it_stands(
    invoke: Invoke, write_loop: WriteLoop, base: Path
) -> None:
    """Sorted keys move it to the end."""
    path = edited(base, lambda document: None)
    assert path.read_text().index('"devices"') < path.read_text().index('"schema"')

    outcome = invoke(
        "check", write_loop("t.json"), "--baseline", path, "--fail-on", "step_time>+5%"
    )

    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (lambda d: d.update(steps=[]), "no steps"),
        (lambda d: d["metrics"].pop("idle_time"), "no idle_time"),
        (
            lambda d: d["metrics"]["idle_time"]["samples"][0].pop(),
            "idle_time has other samples than steps",
        ),
        (
            lambda d: d["metrics"]["step_time"].update(value=1e300),
            "step_time has a number beyond 2^62",
        ),
    ],
)
def test_an_edited_baseline_is_refused(
    invoke: Invoke,
    write_loop: WriteLoop,
    base: Path,
    change: Callable[[dict[str, Any]], object],
    flaw: str,
) -> None:
    path = edited(base, lambda document: change(document["devices"][0]))

    outcome = invoke(
        "check", write_loop("t.json"), "--baseline", path, "--fail-on", "idle_share>+5%"
    )

    assert outcome.code == 2
    assert f"found: rank 0, device 0: {flaw}" in outcome.err


@pytest.mark.parametrize(
    ("name", "found"), [("nope.json", "no such file or directory"), (".", "Is a directory")]
)
def test_a_baseline_that_is_no_file(invoke: Invoke, name: str, found: str) -> None:
    outcome = invoke("baseline", "show", name)

    assert outcome.err.splitlines()[:2] == [
        f"error[MM-E001]: cannot read {name}",
        f"found: {found}",
    ]


def test_a_trace_of_the_baseline_itself_is_noted(
    invoke: Invoke, write_loop: WriteLoop, base: Path
) -> None:
    """A gate that compares a trace with itself never shuts."""
    arguments = ("--baseline", base, "--fail-on", "step_time>+5%")
    said = "Note: before.json is a trace of the baseline itself"

    assert said in invoke("check", "before.json", *arguments).out
    assert said not in invoke("check", write_loop("after.json", SLOWER_US), *arguments).out


def test_endless_nesting_is_a_bad_setting(invoke: Invoke) -> None:
    Path("pyproject.toml").write_text("x = " + "[" * 50_000)

    outcome = invoke("check", "t.json")

    assert outcome.err.startswith("error[MM-E083]")


def test_a_folder_that_is_gone_has_no_settings(
    invoke: Invoke, write_loop: WriteLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = write_loop("t.json")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert invoke("check", trace, "--fail-on", "idle_share>1").code == 0


def test_an_output_that_cannot_be_written_is_annotated(
    invoke: Invoke, write_loop: WriteLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    trace = write_loop("t.json")

    def full(*_: object, **__: object) -> None:
        raise MmprofError("MM-E031", "cannot write r.json")

    monkeypatch.setattr(Destination, "write", full)
    outcome = invoke("check", trace, "--fail-on", "idle_share>1", "-o", "r.json")

    assert outcome.code == 2
    assert "::error title=mmprof check%3A MM-E031::cannot write r.json" in outcome.err


def test_analyze_refuses_a_limit_of_another_kind(invoke: Invoke, write_loop: WriteLoop) -> None:
    outcome = invoke("analyze", write_loop("t.json"), "--fail-on", "idle_share>40")

    assert outcome.code == 2
    assert "the limit of 'idle_share>40' does not fit 'idle_share'" in outcome.err


def test_a_baseline_of_another_version_is_noted(
    invoke: Invoke, write_loop: WriteLoop, base: Path
) -> None:
    path = edited(base, lambda document: document.update(mmprof="0.0.1"))

    outcome = invoke(
        "check", write_loop("t.json"), "--baseline", path, "--fail-on", "step_time>+5%"
    )

    assert f"Note: version of mmprof: 0.0.1 before, {__version__} now" in outcome.out


def test_nobody_reading_the_annotations_changes_no_exit_code(
    write_loop: WriteLoop, tmp_path: Path
) -> None:
    """As in `mmprof check ... 2>&1 | head -1` of a workflow."""
    trace, summary = write_loop("t.json"), tmp_path / "summary.md"
    told = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "mmprof", "check", str(trace), "--fail-on", "idle_share>1"]

    done = subprocess.run(command, stdout=writer, stderr=writer, env=told, check=False)
    os.close(writer)

    assert (done.returncode, summary.read_text()[:22]) == (0, "### mmprof check: PASS")
