"""The registered tables as rows of raw values, and how a value is shown, by the name of its column.

Nothing here knows an analysis: a new table is shown by every renderer as soon as it is registered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmprof.analyzers.choices import choose
from mmprof.analyzers.registry import tables
from mmprof.cli.renderers import units
from mmprof.cli.renderers.headline import ranks_repeat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.analyzers.registry import Table

NAMELESS: Final = "(none)"
_SHARED_TIMES: Final = ("time_ns", "own_ns", "sum_ns")
_INSTANTS: Final = ("start_ns", "end_ns")
_WHERE: Final = ("rank", "device")
_SUFFIXES: Final = ("_ns", "_percent", "_gb_s", "_per_s")
_GIGABYTES_PER_S: Final = ("_gb_s", "gbytes_per_s")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of raw values.

    Attributes:
        title: Heading.
        columns: Names of the columns.
        rows: One value a column; str, int, float, bool, None or a container of these.
        left_out: Rows that were not asked for.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    left_out: int = 0


def table_named(by: str) -> Table:
    """The table that a word of `--by` selects.

    Raises:
        MmprofError: There is none.
    """
    known = {table.by: table for table in tables() if table.by}
    return known[choose(by, known, what="the table")]


def sheet(table: Table, devices: Sequence[DeviceReport], top: int | None = None) -> Sheet:
    """The registered columns of a table, with the share of the whole that each row has; columns without any value are left out.

    Args:
        table: The table.
        devices: Devices whose rows to show; rank and device are columns where there are several, `input` where ranks repeat.
        top: Most rows of each device; None for all.
    """
    shared = _shared_time(table)
    rows = [
        (*_place(device, devices), *_values(row, table), *_share(row, shared, device, table))
        for device in devices
        for row in islice(device.value(table.field), top)
    ]
    total = sum(len(device.value(table.field)) for device in devices)
    named = (table.key, *table.columns)
    columns = (
        *(_where(devices) if len(devices) > 1 else ()),
        *named,
        *(["share"] if shared else []),
    )
    return _without_empty_columns(Sheet(table.title, columns, rows, total - len(rows)))


def _without_empty_columns(sheet: Sheet) -> Sheet:
    filled = [i for i in range(len(sheet.columns)) if any(row[i] is not None for row in sheet.rows)]
    if not sheet.rows or len(filled) == len(sheet.columns):
        return sheet
    columns = tuple(sheet.columns[i] for i in filled)
    return replace(
        sheet, columns=columns, rows=[tuple(row[i] for i in filled) for row in sheet.rows]
    )


def full_sheet(table: Table, devices: Sequence[DeviceReport]) -> Sheet:
    """Every field of every row, with rank and device, and `input` where ranks repeat."""
    listed = [(device, row) for device in devices for row in device.value(table.field)]
    names = listed[0][1].__struct_encode_fields__ if listed else (table.key, *table.columns)
    where = _where(devices)
    rows = [
        (*(getattr(device, name) for name in where), *msgspec.structs.astuple(row))
        for device, row in listed
    ]
    return Sheet(table.title, (*where, *names), rows)


def field_of(row: msgspec.Struct, name: str) -> object:
    """The value of a row under the name that the JSON output gives it."""
    at = row.__struct_encode_fields__.index(name)
    return getattr(row, row.__struct_fields__[at])


def heading(column: str) -> str:
    """A column's name as a heading: units belong to the values."""
    for suffix in _SUFFIXES:
        column = column.removesuffix(suffix)
    return column.replace("_", " ")


def more_rows(sheet: Sheet) -> str:
    """How many rows were not asked for; empty if there are none."""
    plural = "s" * (sheet.left_out != 1)
    return f"{units.count(sheet.left_out)} more row{plural} (--top)" if sheet.left_out else ""


def is_number(column: str, rows: Iterable[tuple[Any, ...]], at: int) -> bool:
    """Whether the column at this position is aligned as numbers."""
    values = (row[at] for row in rows if row[at] is not None)
    first = next(values, None)
    return column == "share" or isinstance(first, int | float)


def shown(column: str, value: object) -> str:
    """A value as text, formatted by the name of its column; text of the trace is returned as it is."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(column, value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {shown(column, v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(column, v) for v in value)
    return str(value) or NAMELESS


def _number(column: str, value: float) -> str:
    if column in _INSTANTS:
        return units.instant(int(value))
    if column.endswith("_ns"):
        return units.duration(value)
    if column == "share" or column.endswith(("_share", "coverage")):
        return units.share(value)
    if column.endswith("_percent"):
        return units.share(value / 100)
    return _amount(column, value)


def _amount(column: str, value: float) -> str:
    if column.endswith(_GIGABYTES_PER_S):
        return units.rate(value * 1e9, "B")
    if column.endswith("_per_s"):
        bare = column.removesuffix("_per_s")
        return units.rate(value, {"bytes": "B", "flops": "FLOP"}.get(bare.rpartition("_")[2], ""))
    if column.rpartition("_")[2] == "bytes" or column.startswith("bytes_"):
        return units.bytes_(value)
    if column.rpartition("_")[2] == "flops":
        return units.flops(value)
    return units.count(value) if isinstance(value, int) else units.number(value)


def _shared_time(table: Table) -> str:
    """The column that is a share of the whole; empty if there is none, or the table has its own share."""
    if "share" in table.columns:
        return ""
    return next((name for name in _SHARED_TIMES if name in table.columns), "")


def _place(device: DeviceReport, devices: Sequence[DeviceReport]) -> tuple[int, ...]:
    return tuple(getattr(device, name) for name in _where(devices)) if len(devices) > 1 else ()


def _where(devices: Sequence[DeviceReport]) -> tuple[str, ...]:
    return ("input", *_WHERE) if ranks_repeat(devices) else _WHERE


def _values(row: msgspec.Struct, table: Table) -> Iterator[Any]:
    return (field_of(row, name) for name in (table.key, *table.columns))


def _share(
    row: msgspec.Struct, time_field: str, device: DeviceReport, table: Table
) -> tuple[float | None, ...]:
    if not time_field:
        return ()
    part, whole = field_of(row, time_field), device.value(table.share_of)
    return (part / whole if whole and isinstance(part, int) else None,)
