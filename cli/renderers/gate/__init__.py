"""Checks in the formats that people and CI systems read: the same judgements, one file per format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.gate.github import workflow_commands
from mmprof.cli.renderers.gate.json_document import json_document
from mmprof.cli.renderers.gate.junit import junit
from mmprof.cli.renderers.gate.markdown import markdown
from mmprof.cli.renderers.gate.sarif import sarif

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

Render = Callable[["Outcome", "RenderOptions"], str]


def terminal(outcome: Outcome, options: RenderOptions) -> str:
    """The judgements for a screen."""
    from mmprof.cli.renderers.gate.terminal import screen  # noqa: PLC0415  (rich: 60 ms)

    return screen(outcome, options)


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json_document,
    "markdown": markdown,
    "github": workflow_commands,
    "sarif": sarif,
    "junit": junit,
}
"""Formats of checks by name."""

SUFFIXES: Final = {
    ".txt": "terminal",
    ".json": "json",
    ".md": "markdown",
    ".sarif": "sarif",
    ".xml": "junit",
}
"""Formats by the suffix of an output file."""
