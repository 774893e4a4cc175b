"""Recommendations as a screen, Markdown or JSON: the same content, drawn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.recommendation.documents import json, markdown

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.recommendation import Recommendations
    from mmprof.cli.renderers import RenderOptions

Render = Callable[["Recommendations", "RenderOptions", bool], str]


def terminal(found: Recommendations, options: RenderOptions, everything: bool) -> str:  # noqa: FBT001  (a `Render`)
    """The content for a screen; with `everything` what was rejected, too."""
    from mmprof.cli.renderers.recommendation.screen import screen  # noqa: PLC0415  (rich: 60 ms)

    return screen(found, options, everything=everything)


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json,
    "markdown": markdown,
}
"""Formats of recommendations by name."""
