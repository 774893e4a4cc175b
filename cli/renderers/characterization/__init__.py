"""A characterization as a screen, Markdown or JSON: the same sections, drawn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.characterization.documents import json, markdown

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.tracer.characterize_results import Characterization

Render = Callable[["Characterization", "RenderOptions"], str]


def terminal(found: Characterization, options: RenderOptions) -> str:
    """The sections for a screen."""
    from mmprof.cli.renderers.characterization.screen import screen  # noqa: PLC0415  (rich: 60 ms)

    return screen(found, options)


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json,
    "markdown": markdown,
}
"""Formats of a characterization by name."""
