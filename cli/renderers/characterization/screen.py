"""The sections of a characterization on a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.cli.renderers.characterization.figure import figure
from mmprof.cli.renderers.characterization.sections import Section, facts, sections
from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.layout import Column, grid, heading, prose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from mmprof.cli.renderers import RenderOptions
    from mmprof.tracer.characterize_results import Characterization

_BLANK: Final = Text("")
_VITAL: Final = 4


def screen(found: Characterization, options: RenderOptions) -> str:
    """The facts, then one block a question."""
    canvas = Canvas.of(options)
    blocks: list[RenderableType] = [prose(line, canvas) for line in facts(found)]
    for section in sections(found):
        blocks += _block(section, canvas)
    return canvas.draw(blocks)


def _block(section: Section, canvas: Canvas) -> Iterator[RenderableType]:
    yield _BLANK
    yield heading(section.question)
    if section.claim:
        yield prose(f"Claim: {section.claim}.", canvas, "dim")
    yield from figure(section, canvas.narrowed())
    columns = [
        Column(name, number=at >= section.texts, vital=at < _VITAL)
        for at, name in enumerate(section.columns)
    ]
    yield grid(canvas, columns, section.rows)
    yield prose(f"Origin: {section.origin}.", canvas, "dim")
