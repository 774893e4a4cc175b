"""Differences as a screen, Markdown or JSON: the same content, drawn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

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
