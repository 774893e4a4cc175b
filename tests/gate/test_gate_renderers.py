"""Formats of a check: rules of each format, and hostile text in every place that a trace fills."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from mmprof.analyzers.gate.baseline import BaselineInput, readable
from mmprof.analyzers.gate.check import Check, CheckedBaseline, CheckedDevice
from mmprof.analyzers.gate.comparability import Comparison
from mmprof.analyzers.gate.judge import Judgement, Significance
from mmprof.cli.github_actions import publish
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.gate import RENDERERS
from mmprof.cli.renderers.gate.content import Outcome
from mmprof.cli.renderers.gate.github import MOST_ANNOTATIONS, command, without_commands

HOSTILE = "x\n::error::y\r\x1b[31m##[stop]|<b>&\"'%0A\u202e\ud800]]>@team `a` [l](http://e)"


def judgement(status: str, text: str = "step_time>+5%") -> Judgement:
    significance = Significance((8, 8), 8.0, 6.0, 10.0, 0.001, status == "crossed", 3.0)
    return Judgement(
        text, "--fail-on", "step_time", "ns", 0, 0, status, 110.0, 105.0, 100.0, significance
    )


def outcome(*judgements: Judgement, text: str = "t.json") -> Outcome:
    text = readable(text.replace("\ud800", "\udc80"))
    inputs = [BaselineInput(text, "0")]
    check = Check(
        ok=not any(j.status == "crossed" for j in judgements),
        inputs=inputs,
        devices=[CheckedDevice(0, 0, text, text, [8])],
        baseline=CheckedBaseline(text, inputs),
        comparable=Comparison([], [text]),
        judgements=list(judgements),
    )
    return Outcome(check, (text,))


ALL = outcome(judgement("crossed"), judgement("noise"), judgement("ok"))


def hurt() -> Outcome:
    return outcome(
        *(judgement(s, HOSTILE.replace("\ud800", "")) for s in ("crossed", "noise", "ok")),
        text=HOSTILE,
    )


def rendered(name: str, what: Outcome) -> str:
    return RENDERERS[name](what, RenderOptions(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in RENDERERS if name != "json"])
def test_nothing_of_a_hostile_text_is_active(name: str) -> None:
    text = rendered(name, hurt())

    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)
    assert "\n::error::y" not in text


def test_annotations() -> None:
    lines = rendered("github", ALL).splitlines()

    assert [line.partition(" ")[0] for line in lines] == [
        "::error",
        "::warning",
        "::warning",
        "::notice",
    ]
    assert lines[0].startswith(
        "::error title=mmprof check%3A step_time>+5%25::step_time>+5%25 (--fail-on)"
    )
    assert (
        lines[-1]
        == "::notice title=mmprof check::FAIL: 1 of 3 conditions is crossed, 1 only within the noise"
    )


def test_a_command_is_one_line_and_its_title_ends_where_it_should() -> None:
    line = command("error", "a::b,c=%\n", "m\r\n::warning::100%")

    assert line.count("\n") == 0
    assert re.fullmatch(r"::error title=([^:,]*)::(.*)", line)
    assert unquote(line).startswith("::error title=mmprof check: a::b,c=%")


def test_no_more_annotations_than_github_shows() -> None:
    many = outcome(*(judgement("crossed", f"x{i}>1") for i in range(25)))
    errors = [line for line in rendered("github", many).splitlines() if line.startswith("::error")]

    assert len(errors) == MOST_ANNOTATIONS
    assert "16 more" in errors[-1]


@pytest.mark.parametrize("name", ["terminal", "json", "sarif", "junit"])
def test_the_runner_finds_no_command_in_a_result(name: str) -> None:
    text = without_commands(rendered(name, hurt()), name)

    assert "##[" not in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


def test_making_commands_harmless_changes_no_document() -> None:
    """In JSON and XML the same text is written differently."""
    text = rendered("sarif", hurt())
    xml = rendered("junit", hurt())

    assert json.loads(without_commands(text, "sarif")) == json.loads(text)
    assert ET.canonicalize(without_commands(xml, "junit")) == ET.canonicalize(xml)


def test_the_step_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    publish(ALL, RenderOptions(), annotate=False)

    assert summary.read_text() == f"before\n{rendered('markdown', ALL)}\n"


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary.md"))

    publish(ALL, RenderOptions(), annotate=False)

    assert capsys.readouterr().err.startswith("the step summary was not written: ")


def test_markdown_has_one_row_a_judgement() -> None:
    rows = [line for line in rendered("markdown", hurt()).splitlines() if line.startswith("|")]

    assert len(rows) == 2 + 3
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


@pytest.mark.parametrize("what", [ALL, hurt()], ids=["plain", "hostile"])
def test_junit_is_xml_with_a_case_a_judgement(what: Outcome) -> None:
    suites = ET.fromstring(rendered("junit", what))
    cases = suites.findall("./testsuite/testcase")

    assert (suites.get("tests"), suites.get("failures")) == ("3", "1")
    assert [[child.tag for child in case] for case in cases] == [["failure"], ["system-out"], []]


@pytest.mark.parametrize("what", [ALL, hurt()], ids=["plain", "hostile"])
def test_sarif_keeps_the_rules_of_its_schema(what: Outcome) -> None:
    log = json.loads(rendered("sarif", what))

    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["kind"] == "fail" or result["level"] == "none"  # section 3.27.10
        assert result["message"]["text"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"(?:[\w.~/-]|%[0-9A-F]{2})+", uri)  # section 3.4.4: a URI reference
    assert [(r["kind"], r["level"]) for r in run["results"]] == [
        ("fail", "error"),
        ("fail", "note"),
        ("pass", "none"),
    ]


def test_json_is_the_document() -> None:
    document = json.loads(rendered("json", ALL))

    assert (document["schema"], document["ok"]) == ("mmprof.check/1", False)
    assert [j["status"] for j in document["judgements"]] == ["crossed", "noise", "ok"]
