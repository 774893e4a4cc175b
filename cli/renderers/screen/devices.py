"""Several devices or ranks: one row each."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from mmprof.cli.renderers import units
from mmprof.cli.renderers.headline import NAME_COLUMNS, cause_label, name_of, place_of, ranks_repeat
from mmprof.cli.renderers.safe import label
from mmprof.cli.renderers.screen.layout import Column, grid, heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from mmprof.analyzers.analyze import DeviceReport, Report
    from mmprof.cli.renderers.screen.canvas import Canvas

MOST_DEVICES: Final = 8
NOTHING: Final = "-"


def device_summary(report: Report, shown: DeviceReport, canvas: Canvas) -> RenderableType:
    """All devices where they are few, else those that lose most time, and the range of the others."""
    by_idle = sorted(report.devices, key=lambda d: -d.value("idle_ns"))
    others = by_idle[MOST_DEVICES:]
    listed = by_idle if others else sorted(by_idle, key=lambda d: (d.rank, d.input, d.device))
    files = _files(report)
    columns = (
        Column("rank", number=True, vital=True),
        Column("device", number=True, vital=True),
        *([Column("file", vital=True)] if files else []),
        Column("name"),
        Column("window", number=True),
        Column("busy", number=True),
        Column("idle", number=True, vital=True),
        Column("mostly"),
        Column("busy with"),
    )
    table = grid(canvas, columns, [_row(device, files) for device in listed[:MOST_DEVICES]])
    place = place_of(shown) + (f" of {label(files[shown.input], NAME_COLUMNS)}" if files else "")
    title = heading(f"{len(by_idle)} devices", f"below: {place}, which loses most time")
    return Group(title, table, *([_others(others)] if others else []))


def _files(report: Report) -> Sequence[str]:
    """The file of each input where the rank does not name it, by its whole path if need be; else nothing."""
    if not ranks_repeat(report.devices):
        return ()
    paths = [PurePath(facts.path) for facts in report.inputs]
    distinct = len({path.name for path in paths}) == len(paths)
    return [path.name if distinct else str(path) for path in paths]


def _row(device: DeviceReport, files: Sequence[str]) -> tuple[str, ...]:
    window_ns = device.value("window_ns")
    causes, classes = device.value("idle_causes"), device.value("classes")
    return (
        str(device.rank),
        str(device.device),
        *([files[device.input]] if files else []),
        name_of(device),
        units.duration(window_ns),
        units.duration(device.value("busy_ns")),
        units.share_of(device.value("idle_ns"), window_ns),
        cause_label(causes[0].cause) if causes else NOTHING,
        classes[0].class_ if classes else NOTHING,
    )


def _others(devices: Sequence[DeviceReport]) -> Text:
    shares = [device.value("idle_share") for device in devices]
    least, most = units.share(min(shares)), units.share(max(shares))
    return Text(
        f"{len(shares)} more, idle {least} to {most}; --rank and --device select one", "dim"
    )
