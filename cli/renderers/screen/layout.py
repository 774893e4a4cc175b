"""Tables that fit: numbers keep their width, text shares what is left, columns that still do not fit are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from mmprof.cli.renderers.safe import clip, columns_of, lines_of, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from mmprof.cli.renderers.screen.canvas import Canvas

GAP: Final = 2
LEAST_TEXT_COLUMNS: Final = 12

Cells = list[list[str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        heading: Its heading.
        number: Aligned right and never shortened.
        vital: Never left out, however narrow the screen.
        wraps: Whole, over several lines, rather than shortened.
    """

    heading: str
    number: bool = False
    vital: bool = False
    wraps: bool = False


def grid(
    canvas: Canvas,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[str] = (),
) -> Table:
    """A table of at most the canvas's width; text of a trace may stand in any cell.

    Args:
        canvas: Where it is drawn.
        columns: The columns.
        rows: Cells as text, one a column.
        styles: A style for the first cell of each row, where it has one of its own.
    """
    cells: Cells = [[printable(clip(cell)) for cell in row] for row in rows]
    natural = [_natural(column, cells, at) for at, column in enumerate(columns)]
    kept = fitting(columns, natural, canvas.width)
    widths = _widths([columns[i] for i in kept], [natural[i] for i in kept], canvas.width)
    table = _empty([columns[i] for i in kept], widths)
    for number, row in enumerate(cells):
        texts = [
            Text(_fitted(row[i], w, columns[i], canvas)) for i, w in zip(kept, widths, strict=True)
        ]
        if number < len(styles):
            texts[0].stylize(styles[number])
        table.add_row(*texts)
    return table


def _fitted(text: str, width: int, column: Column, canvas: Canvas) -> str:
    if column.wraps:
        return "\n".join(lines_of(text, width, ellipsis=canvas.ellipsis))
    return shorten(text, width, ellipsis=canvas.ellipsis)


def fitting(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Positions of the columns that fit; from the right, those that are not vital are left out."""
    kept = list(range(len(columns)))
    spare = [i for i in kept if not columns[i].vital]
    while spare and _least(columns, natural, kept, width) > width:
        kept.remove(spare.pop())
    return kept


def beside(left: RenderableType, right: RenderableType, widths: tuple[int, int]) -> Table:
    """Two blocks side by side."""
    table = Table.grid(padding=0)
    for width in widths:
        table.add_column(width=width, no_wrap=True)
    table.add_row(left, right)
    return table


def prose(text: str, canvas: Canvas, style: str = "") -> Text:
    """Sentences, wrapped so that no number is parted from its unit."""
    return Text("\n".join(lines_of(text, canvas.width, ellipsis=canvas.ellipsis)), style)


def heading(text: str, rest: str = "") -> Text:
    """A section's heading, with an explanation in a weaker style."""
    return Text.assemble((text, "bold"), (f"  {rest}" if rest else "", "dim"))


def _natural(column: Column, cells: Cells, at: int) -> int:
    return max([columns_of(column.heading), *(columns_of(row[at]) for row in cells)])


def _least(
    columns: Sequence[Column], natural: Sequence[int], kept: Sequence[int], width: int
) -> int:
    needed = (
        natural[i] if columns[i].number else min(natural[i], _least_text(columns[i], width))
        for i in kept
    )
    return GAP * (len(kept) - 1) + sum(needed)


def _least_text(column: Column, width: int) -> int:
    return max(width // 3, LEAST_TEXT_COLUMNS) if column.vital else LEAST_TEXT_COLUMNS


def _widths(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Numbers at their natural width; text shares the rest, short columns first, a vital one with twice the weight."""
    room = (
        width
        - GAP * (len(columns) - 1)
        - sum(n for c, n in zip(columns, natural, strict=True) if c.number)
    )
    weights = {i: 1 + c.vital for i, c in enumerate(columns) if not c.number}
    widths = list(natural)
    for i in sorted(weights, key=lambda i: natural[i] / weights[i]):
        share = room * weights[i] // sum(weights.values())
        widths[i] = min(natural[i], max(share, 1))
        room -= widths[i]
        weights.pop(i)
    return widths


def _empty(columns: Sequence[Column], widths: Sequence[int]) -> Table:
    table = Table(
        box=None,
        show_header=any(c.heading for c in columns),
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        header_style="dim",
    )
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.heading),
            width=width,
            no_wrap=True,
            overflow="crop",
            justify="right" if column.number else "left",
        )
    return table
