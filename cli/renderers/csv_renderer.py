"""CSV: every row and field of one table, for spreadsheets and data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.cli.renderers import sheets
from mmprof.cli.renderers.registry import RenderOptions, renderer
from mmprof.cli.renderers.safe import csv_cell

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Report

DEFAULT_TABLE: Final = "class"


@renderer("csv", ".csv")
def csv(report: Report, options: RenderOptions) -> str:
    """The table that `by` selects, whole: names of fields as header, nothing rounded or cut.

    Raises:
        MmprofError: There is no such table.
    """
    sheet = sheets.full_sheet(sheets.table_named(options.by or DEFAULT_TABLE), report.devices)
    lines = [",".join(sheet.columns), *(",".join(map(_cell, row)) for row in sheet.rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    return csv_cell(value if isinstance(value, str) else msgspec.json.encode(value).decode())
