"""Markdown for a pull request or an issue: the headline and what to do, then the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmprof.analyzers.registry import tables
from mmprof.cli.renderers import sheets, units
from mmprof.cli.renderers.headline import (
    gain_of,
    headline,
    name_of,
    place_of,
    profiler_cost,
    ranks_repeat,
    top_steps,
    worst,
)
from mmprof.cli.renderers.registry import RenderOptions, renderer
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmprof.analyzers.analyze import DeviceReport, Report
    from mmprof.analyzers.findings import Finding

NAME_COLUMNS: Final = 90
MOST_DEVICES: Final = 32
_MAIN_TABLES: Final = ("classes", "idle_causes", "bounds", "ops")
_TIMELINE: Final = (
    "window_ns",
    "busy_ns",
    "idle_ns",
    "idle_share",
    "overlap_ns",
    "head_ns",
    "tail_ns",
    "streams",
)


@renderer("markdown", ".md", ".markdown")
def markdown(report: Report, options: RenderOptions) -> str:
    """The overview, or the table that `by` selects; of several devices, the one that loses most time in full.

    Raises:
        MmprofError: There is no such table.
    """
    blocks = _one_table(report, options) if options.by else _overview(report, options.top)
    return "\n\n".join(blocks) + "\n"


def _one_table(report: Report, options: RenderOptions) -> Iterator[str]:
    yield _sheet(sheets.sheet(sheets.table_named(options.by), report.devices, options.top))


def _overview(report: Report, top: int) -> Iterator[str]:
    shown = worst(report)
    yield f"**{markdown_text(headline(shown))}**"
    yield f"{_inputs(report)} ({place_of(shown)})"
    yield from filter(None, [profiler_cost(shown)])
    yield from _findings(shown.findings)
    yield _timeline(report)
    by_field = {table.field: table for table in tables()}
    yield from (_sheet(sheets.sheet(by_field[field], [shown], top)) for field in _MAIN_TABLES)
    yield "<details><summary>More tables</summary>"
    others = (
        sheets.sheet(table, [shown], top)
        for field, table in by_field.items()
        if field not in _MAIN_TABLES
    )
    yield from (_sheet(sheet) for sheet in others if sheet.rows)
    yield "</details>"
    yield from ([_notes(report)] if report.notes else [])


def _inputs(report: Report) -> str:
    paths = [markdown_cell(label(facts.path, NAME_COLUMNS)) for facts in report.inputs[:3]]
    more = f" and {len(report.inputs) - 3} more" if len(report.inputs) > 3 else ""
    return f"{', '.join(paths)}{more}: {units.count(sum(f.events for f in report.inputs))} events"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    header = ["severity", "code", "finding", "at most", "lever", "where"]
    rows = [
        [
            f.severity,
            f.code,
            markdown_text(f.title),
            gain_of(f).removeprefix("at most "),
            markdown_cell(f.lever),
            markdown_cell(label(f.evidence.where, NAME_COLUMNS)),
        ]
        for f in top_steps(findings)
    ]
    yield _table("Findings", header, rows, numbers={3})


def _timeline(report: Report) -> str:
    by_idle = sorted(report.devices, key=lambda d: -d.value("idle_ns"))[:MOST_DEVICES]
    listed = sorted(by_idle, key=lambda d: (d.rank, d.input, d.device))
    repeated = ranks_repeat(report.devices)
    named = ["rank", "device", "name", *(["file"] if repeated else [])]
    header = [*named, *(_HEADINGS.get(f, sheets.heading(f)) for f in _TIMELINE)]
    rows = [
        [
            str(device.rank),
            str(device.device),
            markdown_cell(name_of(device)),
            *([_file(report, device)] if repeated else []),
            *(sheets.shown(field, device.value(field)) for field in _TIMELINE),
        ]
        for device in listed
    ]
    hidden = len(report.devices) - len(listed)
    title = f"Timeline of the {len(listed)} devices with most idle time" if hidden else "Timeline"
    return _table(title, header, rows, numbers={0, 1, *range(len(named), len(header))})


def _file(report: Report, device: DeviceReport) -> str:
    return markdown_cell(label(report.inputs[device.input].path, NAME_COLUMNS))


_HEADINGS: Final = {"overlap_ns": "overlapped", "head_ns": "host before", "tail_ns": "host after"}


def _sheet(sheet: sheets.Sheet) -> str:
    header = [sheets.heading(column) for column in sheet.columns]
    numbers = {
        at for at, name in enumerate(sheet.columns) if sheets.is_number(name, sheet.rows, at)
    }
    rows = [[_cell(*pair) for pair in zip(sheet.columns, row, strict=True)] for row in sheet.rows]
    table = _table(sheet.title, header, rows, numbers=numbers)
    return f"{table}\n\n{sheets.more_rows(sheet)}".rstrip()


def _cell(column: str, value: object) -> str:
    text = sheets.shown(column, value)
    if value is None or isinstance(value, bool | int | float):
        return text.replace("<", "&lt;").replace(">", "&gt;")
    return markdown_cell(label(text, NAME_COLUMNS))


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: set[int]
) -> str:
    rule = ["---:" if at in numbers else "---" for at in range(len(header))]
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, rule, *rows)]
    return "\n".join([f"#### {title}", "", *lines])


def _notes(report: Report) -> str:
    return "\n".join(f"- {markdown_text(f'{note.code}: {note.message}')}" for note in report.notes)
