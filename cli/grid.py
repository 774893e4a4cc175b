"""Columns and rows as text: what `query`, `devices` and `explain` print."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from mmprof.cli import formats
from mmprof.cli.output import Destination
from mmprof.cli.renderers.safe import csv_cell, markdown_cell, printable

if TYPE_CHECKING:
    from rich.table import Table

# Enough for any row: what is no screen has no width, and nothing in it is cut.
_UNLIMITED_WIDTH: Final = 1_000_000
_NUMBER: Final = re.compile(r"-?[\d.,]+(?:e[-+]?\d+)?")
_SUFFIXES: Final = {".txt": "terminal", ".json": "json", ".md": "markdown", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of raw values.

    Attributes:
        columns: Names of the columns.
        rows: One value a column; text is not yet made safe.
        schema: Name of the JSON document, with its version.
        left_out: Rows that were not asked for.
        note: A line below the table on a terminal.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    schema: str
    left_out: int = 0
    note: str = ""


def render_grid(grid: Grid, format_name: str, destination: Destination) -> str:
    """The grid in one of `GRID_FORMATS`, ending with a newline."""
    return GRID_FORMATS[format_name](grid, destination)


def format_of(format_name: str, output: str = "") -> str:
    """The format of a name; without one that of the output's suffix, `terminal` where it has none.

    Raises:
        MmprofError: There is no such format.
    """
    return formats.format_of(format_name, output, GRID_FORMATS, _SUFFIXES)


def _terminal(grid: Grid, destination: Destination) -> str:
    from rich.console import Console  # noqa: PLC0415  (60 ms that other formats need not cost)

    console = Console(
        file=io.StringIO(),
        width=destination.width or _UNLIMITED_WIDTH,
        force_terminal=destination.color,
        no_color=not destination.color,
        legacy_windows=False,
    )
    more = f"{grid.left_out:,} more rows; --limit 0 shows all" if grid.left_out else ""
    with console.capture() as captured:
        console.print(_table(grid))
        for line in filter(None, (more, grid.note)):
            console.print(line, style="dim", highlight=False, markup=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _table(grid: Grid) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for at, name in enumerate(grid.columns):
        numeric = all(_is_number(row[at]) for row in grid.rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(printable(name)), justify=justify, no_wrap=numeric, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(printable(_shown(value))) for value in row))
    return table


def _is_number(value: object) -> bool:
    return value is None or value == "" or _NUMBER.fullmatch(_shown(value)) is not None


def _csv(grid: Grid, _: Destination) -> str:
    lines = [",".join(_cells(row, csv_cell)) for row in [grid.columns, *grid.rows]]
    return "\n".join(lines) + "\n"


def _markdown(grid: Grid, _: Destination) -> str:
    head = [f"| {' | '.join(map(printable, grid.columns))} |", f"|{' --- |' * len(grid.columns)}"]
    lines = [f"| {' | '.join(_cells(row, markdown_cell))} |" for row in grid.rows]
    return "\n".join([*head, *lines]) + "\n"


def _cells(row: Sequence[Any], safe: Callable[[str], str]) -> Iterator[str]:
    """Text made safe; a number as it is: -5 is no formula."""
    for value in row:
        yield _shown(value) if isinstance(value, (int, float)) else safe(_shown(value))


def _json(grid: Grid, _: Destination) -> str:
    rows = [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]
    document = {
        "schema": grid.schema,
        "columns": list(grid.columns),
        "rows": rows,
        "left_out": grid.left_out,
    }
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=str)).decode() + "\n"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (Mapping, list)):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return "" if value is None else str(value)


GRID_FORMATS: Final[Mapping[str, Callable[[Grid, Destination], str]]] = {
    "terminal": _terminal,
    "json": _json,
    "markdown": _markdown,
    "csv": _csv,
}
"""Formats of grids by name."""
