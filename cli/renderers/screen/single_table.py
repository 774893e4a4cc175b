"""One registered table in full width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from mmprof.cli.renderers import sheets
from mmprof.cli.renderers.screen.layout import Column, grid, heading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from mmprof.analyzers.analyze import Report
    from mmprof.cli.renderers.registry import RenderOptions
    from mmprof.cli.renderers.screen.canvas import Canvas


def single_table(
    report: Report, canvas: Canvas, options: RenderOptions
) -> Iterator[RenderableType]:
    """The first rows of each device's table.

    Raises:
        MmprofError: There is no such table.
    """
    table = sheets.table_named(options.by)
    sheet = sheets.sheet(table, report.devices, options.top)
    columns = [
        Column(
            sheets.heading(name),
            number=sheets.is_number(name, sheet.rows, at),
            vital=name in {table.key, "share"},
        )
        for at, name in enumerate(sheet.columns)
    ]
    rows = [
        [sheets.shown(n, v) for n, v in zip(sheet.columns, row, strict=True)] for row in sheet.rows
    ]
    yield heading(sheet.title, _explained(table.share_of, sheet))
    yield grid(canvas, columns, rows) if rows else Text("nothing to show", "dim")
    if sheet.left_out:
        yield Text(sheets.more_rows(sheet), "dim")


def _explained(share_of: str, sheet: sheets.Sheet) -> str:
    return f"share of {sheets.heading(share_of)} time" if "share" in sheet.columns else ""
