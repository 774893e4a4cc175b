"""A verification on a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.layout import Column, grid, heading, prose
from mmprof.cli.renderers.verification.tables import facts, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.verification.verdict_table import VerdictTable
    from mmprof.tracer.verify_results import Verification

_TEXTS: Final = 2
_VITAL: Final = 4
_STYLES: Final = {
    "verified": "green",
    "slower": "red",
    "outputs differ": "red",
    "failed": "red",
    "no gain": "yellow",
}


def screen(found: Verification, options: RenderOptions) -> str:
    """The facts, then the tables."""
    return screen_of(facts(found), tables(found), options)


def screen_of(lines: Iterable[str], drawn: Iterable[VerdictTable], options: RenderOptions) -> str:
    """Sentences, then tables."""
    canvas = Canvas.of(options)
    blocks: list[RenderableType] = [prose(line, canvas) for line in lines]
    for table in drawn:
        blocks += _block(table, canvas)
    return canvas.draw(blocks)


def _block(table: VerdictTable, canvas: Canvas) -> Iterator[RenderableType]:
    yield Text("")
    yield heading(table.heading)
    last = len(table.columns) - 1
    columns = [
        Column(name, number=at >= _TEXTS, vital=at < _VITAL, wraps=at == last and at < _TEXTS)
        for at, name in enumerate(table.columns)
    ]
    styles = [_STYLES.get(row[1], "dim") for row in table.rows]
    yield grid(canvas, columns, table.rows, styles=styles)
    for line in table.remarks:
        yield prose(line, canvas, "dim")
