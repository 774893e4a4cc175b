"""A check as workflow commands of GitHub Actions, which show it as annotations.

The form of a command and its escapes are those of actions/toolkit, `packages/core/src/command.ts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.gate.content import details, remarks, verdict
from mmprof.cli.renderers.safe import label

if TYPE_CHECKING:
    from mmprof.analyzers.errors import MmprofError
    from mmprof.analyzers.gate.judge import Judgement
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

MOST_ANNOTATIONS: Final = 10
"""GitHub shows no more of one kind for a step."""

_LINE: Final = 2_000
_COMMAND: Final = re.compile(r"^(\s*)::", re.MULTILINE)
_OPENED: Final = "## ["
# Within a string of JSON, and within XML: the same character.
_INERT: Final = {"json": r"#\u0023[", "sarif": r"#\u0023[", "junit": "#&#35;["}
_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def workflow_commands(outcome: Outcome, _: RenderOptions) -> str:
    """An error for what is crossed, a warning for what is noise or hard to compare, a notice for the verdict."""
    check = outcome.check
    lines = [
        *_listed("error", [*map(_told, check.crossed)]),
        *_listed("warning", [*map(_told, check.noisy), *(("", r) for r in remarks(check))]),
        command("notice", "", verdict(check)),
    ]
    return "\n".join(lines) + "\n"


def error_annotation(error: MmprofError) -> str:
    """An error that kept the check from being made."""
    found = f"; found: {error.found}" if error.found else ""
    hint = f"; try: {error.hint}" if error.hint else ""
    return command("error", error.code, f"{error.message}{found}{hint}")


def command(kind: str, title: str, message: str) -> str:
    """One workflow command; text of a trace may stand in any of its parts."""
    named = f"mmprof check: {label(title, _LINE)}" if title else "mmprof check"
    return f"::{kind} title={named.translate(_PROPERTY)}::{label(message, _LINE).replace('##[', _OPENED).translate(_DATA)}"


def without_commands(text: str, format_name: str) -> str:
    """A result in a format, with nothing in it that the runner takes for a command of its own.

    A command `::name::` begins a line; one of the first form, `##[name]`, may stand anywhere in it.
    """
    inert = text.replace("##[", _INERT.get(format_name, _OPENED))
    return _COMMAND.sub(r"\1: :", inert)


def _told(judgement: Judgement) -> tuple[str, str]:
    return judgement.condition, ". ".join(details(judgement))


def _listed(kind: str, told: Sequence[tuple[str, str]]) -> Iterator[str]:
    shown = len(told) if len(told) <= MOST_ANNOTATIONS else MOST_ANNOTATIONS - 1
    for title, message in told[:shown]:
        yield command(kind, title, message)
    if shown < len(told):
        yield command(kind, "", f"{len(told) - shown} more; the step summary has all")
