"""A difference on a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.cli.renderers.difference.content import LevelTable, facts, legend, notes, tables
from mmprof.cli.renderers.difference.headline import headline
from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.layout import Column, grid, prose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from mmprof.analyzers.diff.result import Difference
    from mmprof.cli.renderers import RenderOptions

_STYLES: Final = {"faster": "bold green", "slower": "bold red"}
_VITAL: Final = 4


def screen(found: Difference, options: RenderOptions) -> str:
    """The headline, what was compared, and a table a level."""
    canvas = Canvas.of(options)
    drawn: list[RenderableType] = [
        prose(headline(found), canvas, _STYLES.get(found.total.verdict, "bold")),
        *_dim((*facts(found), *notes(found)), canvas),
    ]
    shown = list(tables(found, by=options.by, top=options.top))
    for table in shown:
        drawn += _table(table, canvas)
    if meant := [*_dim(legend(shown), canvas)]:
        drawn += [Text(""), *meant]
    return canvas.draw(drawn)


def _dim(lines: Iterable[str], canvas: Canvas) -> Iterator[RenderableType]:
    return (prose(line, canvas, "dim") for line in lines)


def _table(table: LevelTable, canvas: Canvas) -> Iterator[RenderableType]:
    yield Text("")
    numbers = (Column(c, number=True, vital=at < _VITAL) for at, c in enumerate(table.columns))
    columns = [Column(table.title, vital=True), *numbers]
    styles = [*[""] * (len(table.rows) - 1), "bold"]
    yield grid(canvas, columns, table.rows, styles=styles)
    yield from _dim([table.remark], canvas)
