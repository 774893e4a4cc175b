"""A verification as a screen, Markdown or JSON: the same tables, drawn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.verification.documents import json, markdown

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.tracer.verify_results import Verification

Render = Callable[["Verification", "RenderOptions"], str]


def terminal(found: Verification, options: RenderOptions) -> str:
    """The tables for a screen."""
    from mmprof.cli.renderers.verification.screen import screen  # noqa: PLC0415  (rich: 60 ms)

    return screen(found, options)


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json,
    "markdown": markdown,
}
"""Formats of a verification by name."""
