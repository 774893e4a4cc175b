"""A search as a screen, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.optimization.tables import facts, tables
from mmprof.cli.renderers.verification.documents import json, markdown_of

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.tracer.verify_results import Verification

Render = Callable[["Verification", "RenderOptions"], str]


def terminal(found: Verification, options: RenderOptions) -> str:
    """The tables for a screen."""
    from mmprof.cli.renderers.verification.screen import screen_of  # noqa: PLC0415  (rich: 60 ms)

    return screen_of(facts(found), tables(found), options)


def markdown(found: Verification, _: RenderOptions) -> str:
    """The facts, then the tables."""
    return markdown_of(facts(found), tables(found))


RENDERERS: Final[Mapping[str, Render]] = {
    "terminal": terminal,
    "json": json,
    "markdown": markdown,
}
"""Formats of a search by name."""
