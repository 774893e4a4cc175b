"""Differences as a screen, Markdown or JSON: the same content, drawn differently; and both sides as one trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.formats import DOCUMENT_SUFFIXES
from mmprof.cli.renderers.difference.documents import json, markdown

if TYPE_CHECKING:
    from mmprof.analyzers.diff.result import Difference
    from mmprof.cli.renderers import RenderOptions

Render = Callable[["Difference", "RenderOptions"], str]


def terminal(found: Difference, options: RenderOptions) -> str:
    """The content for a screen."""
    from mmprof.cli.renderers.difference.screen import screen  # noqa: PLC0415  (rich: 60 ms)

    return screen(found, options)


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json,
    "markdown": markdown,
}
"""Formats of differences by name."""

TRACE: Final = "trace"
"""The format that is no text of a difference: both sides on one time line."""

FORMATS: Final = (*RENDERERS, TRACE)
SUFFIXES: Final = {**DOCUMENT_SUFFIXES, ".gz": TRACE, ".zst": TRACE}
