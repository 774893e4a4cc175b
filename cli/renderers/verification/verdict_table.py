"""A table of levers as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOTHING: Final = "-"

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictTable:
    """Levers, one a row; the first two columns are text.

    Attributes:
        heading: What the rows are.
        columns: Headings.
        rows: Cells.
        remarks: A line below for each row that needs one.
    """

    heading: str
    columns: Row
    rows: list[Row]
    remarks: list[str]
