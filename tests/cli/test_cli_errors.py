"""Errors are two or three lines and an exit code, or a JSON document; never a traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from mmprof.analyzers import contract
from mmprof.analyzers.error_pages import ERROR_PAGES
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.notes import NOTES
from mmprof.cli import main as entry
from tests.cli.conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]


def raised_codes(kind: str) -> set[str]:
    """Codes in the sources, other than in their pages."""
    pages = {"error_pages.py", "notes.py"}
    sources = (
        p for folder in ("analyzers", "cli", "tracer") for p in (ROOT / folder).rglob("*.py")
    )
    texts = (p.read_text(encoding="utf-8") for p in sources if p.name not in pages)
    return {code for text in texts for code in re.findall(rf'"(MM-{kind}\d{{3}})"', text)}


def test_every_error_has_a_page_and_every_page_an_error() -> None:
    assert raised_codes("E") == set(ERROR_PAGES)


def test_every_note_has_a_page() -> None:
    assert raised_codes("N") <= set(NOTES)


def test_a_missing_file(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("analyze", tmp_path / "none.json")

    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.splitlines() == [
        f"error[MM-E001]: cannot read {tmp_path / 'none.json'}",
        "found: no such file or directory",
        "try: check the path and its permissions",
    ]


@pytest.mark.parametrize(
    "option", [["--format", "json"], ["--format=json"], ["-f", "json"], ["-fjson"]]
)
def test_errors_are_json_where_json_was_asked_for(
    invoke: Invoke, tmp_path: Path, option: list[str]
) -> None:
    outcome = invoke("analyze", tmp_path / "none.json", *option)

    document = json.loads(outcome.out)
    jsonschema.validate(document, contract.error_schema())
    assert (outcome.code, outcome.err) == (2, "")
    assert document == {
        "schema": "mmprof.error/1",
        "code": "MM-E001",
        "message": f"cannot read {tmp_path / 'none.json'}",
        "found": "no such file or directory",
        "try": "check the path and its permissions",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse"], "'analyze'"),
        (["analyze"], "TRACE"),
        (["analyze", "x", "--formt", "json"], "--format"),
        (["analyze", "x", "--top", "0"], "--top"),
        (["analyze", "x", "--rank", "one"], "--rank"),
    ],
)
def test_wrong_use_names_what_is_wrong(invoke: Invoke, arguments: list[str], message: str) -> None:
    outcome = invoke(*arguments)

    first, last = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (2, "")
    assert first.startswith("error[MM-E029]: ")
    assert message in first
    assert last.endswith("--help")


def test_wrong_use_is_json_as_well(invoke: Invoke) -> None:
    outcome = invoke("analyze", "--format", "json")

    assert outcome.code == 2
    assert json.loads(outcome.out)["code"] == "MM-E029"


@pytest.mark.parametrize(
    ("option", "word", "suggestion"),
    [("--format", "jsn", "json"), ("--by", "clas", "class"), ("--by", "KERNELS", "kernel")],
)
def test_words_are_suggested(
    invoke: Invoke, sync_trace: Path, option: str, word: str, suggestion: str
) -> None:
    outcome = invoke("analyze", sync_trace, option, word)

    assert outcome.code == 2
    assert outcome.err.startswith(
        f"error[MM-E028]: the {'format' if option == '--format' else 'table'} {word!r}"
    )
    assert f"try: did you mean {suggestion!r}?" in outcome.err


def test_control_characters_of_a_path_do_not_reach_the_terminal(invoke: Invoke) -> None:
    outcome = invoke("analyze", "no\x1b[2Jsuch\ntrace")

    assert "\x1b" not in outcome.err
    assert outcome.err.startswith("error[MM-E001]: cannot read no\\x1b[2Jsuch\\ntrace\n")


def broken(*_: object) -> None:
    raise ZeroDivisionError("division by zero")


def test_a_defect_is_an_error_too(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_run", broken)

    outcome = invoke("analyze")

    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "error[MM-E099]: internal error: this is a defect of mmprof",
        "found: ZeroDivisionError: division by zero",
        "try: run it again with --debug and report the traceback",
    ]


@pytest.mark.parametrize(
    "arguments", [["--debug", "analyze", "none"], ["analyze", "none", "--debug"]]
)
def test_debug_shows_where_an_error_comes_from(invoke: Invoke, arguments: list[str]) -> None:
    with pytest.raises(MmprofError, match="cannot read none"):
        invoke(*arguments)


def test_debug_shows_where_a_defect_is(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_run", broken)

    with pytest.raises(ZeroDivisionError):
        invoke("analyze", "--debug")


def test_debug_after_two_dashes_is_an_argument(invoke: Invoke) -> None:
    assert "cannot read --debug" in invoke("analyze", "--", "--debug").err


def test_an_interrupt_is_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmprof.analyzers.analyze.analyze", interrupted)

    assert invoke("analyze", "x").code == 130
