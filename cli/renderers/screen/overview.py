"""The overview: a headline, where the time goes, what bounds it, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from mmprof.cli.renderers import units
from mmprof.cli.renderers.headline import headline, place_of, profiler_cost, top_steps, worst
from mmprof.cli.renderers.registry import DEFAULT_TOP
from mmprof.cli.renderers.safe import label
from mmprof.cli.renderers.screen.devices import device_summary
from mmprof.cli.renderers.screen.findings import findings
from mmprof.cli.renderers.screen.layout import prose
from mmprof.cli.renderers.screen.sections import bounds, operators, timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from mmprof.analyzers.analyze import DeviceReport, Report
    from mmprof.cli.renderers.screen.canvas import Canvas

MOST_NOTES: Final = 4
ROOMY_COLUMNS: Final = 90
LEAST_PATH_COLUMNS: Final = 16
MOST_TYPED: Final = 200
_MUCH_IDLE: Final = 0.3
_BLANK: Final = Text("")


def overview(report: Report, canvas: Canvas, top: int) -> Iterator[RenderableType]:
    """The sections from top to bottom; of several devices, the one that loses most time is shown."""
    shown, several = worst(report), len(report.devices) > 1
    yield Text(_inputs(report, shown, canvas), "dim")
    if several:
        yield from (device_summary(report, shown, canvas), _BLANK)
    yield prose(headline(shown), canvas, "bold")
    if cost := profiler_cost(shown):
        yield prose(cost, canvas, "dim")
    if shown.value("window_ns"):
        yield from _sections(shown, canvas, _rows(top, canvas, several=several))
    yield _footer(report, shown, canvas)


def _sections(device: DeviceReport, canvas: Canvas, top: int) -> Iterator[RenderableType]:
    sections = (
        timeline(device, canvas),
        bounds(device, canvas),
        operators(device, canvas, top),
        findings(device, canvas),
    )
    for section in sections:
        yield from (_BLANK, section)
    yield _BLANK


def _rows(top: int, canvas: Canvas, *, several: bool) -> int:
    """Rows of the operators' table that leave the rest on one screen; more only where they were asked for."""
    taken = 5 * several + 3 * (canvas.width < ROOMY_COLUMNS)
    return top if top > DEFAULT_TOP else max(top - taken, min(top, 3))


def _inputs(report: Report, shown: DeviceReport, canvas: Canvas) -> str:
    first, events = report.inputs[shown.input], sum(facts.events for facts in report.inputs)
    more = f" and {len(report.inputs) - 1} more" if len(report.inputs) > 1 else ""
    of_window = f", window {label(report.window, LEAST_PATH_COLUMNS)}" if report.window else ""
    rest = f"{more}: {units.count(events)} events{of_window}; {place_of(shown)}"
    room = max(canvas.width - len(rest), LEAST_PATH_COLUMNS)
    return label(PurePath(first.path).name or first.path, room, ellipsis=canvas.ellipsis) + rest


def _footer(report: Report, shown: DeviceReport, canvas: Canvas) -> RenderableType:
    lines = [f"{note.code}  {note.message}" for note in report.notes[:MOST_NOTES]]
    hidden = len(report.notes) - MOST_NOTES
    lines += [f"{hidden} more notes: --format json"] if hidden > 0 else []
    fitted = [label(line, canvas.width, ellipsis=canvas.ellipsis) for line in lines]
    return Group(*(Text(line, "dim") for line in fitted), _next_commands(report, shown, canvas))


def _next_commands(report: Report, shown: DeviceReport, canvas: Canvas) -> Text:
    """What to run next; the commands that fit on one line."""
    first = next(iter(top_steps(shown.findings)), None)
    explain = [f"mmprof explain {first.code}"] if first else []
    tables = ("gap" if shown.value("idle_share") > _MUCH_IDLE else "op", "module")
    arguments = _arguments(report)
    lines = [
        "Next: "
        + "  |  ".join([*explain, *(f"mmprof analyze {what} --by {by}" for by in tables)][:n])
        for what, n in [*((what, n) for what in arguments for n in (3, 2)), (arguments[-1], 1)]
    ]
    fitting = [line for line in lines if len(line) <= canvas.width]
    return Text(next(iter(fitting), lines[-1]), "green")


def _arguments(report: Report) -> tuple[str, ...]:
    """The input and the selection as they are typed, where they can be copied, or words that stand for them."""
    path, selection = report.inputs[0].path, _selection(report)
    copyable = len(report.inputs) == 1 and _can_be_typed(path) and path != "-"
    return (shlex.quote(path) + selection, f"TRACE{selection}")[not copyable :]


def _selection(report: Report) -> str:
    """The options that selected what is shown."""
    window = shlex.quote(report.window) if _can_be_typed(report.window) else "WINDOW"
    given = {
        "window": window if report.window else None,
        "rank": report.rank,
        "device": report.device,
    }
    return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


def _can_be_typed(text: str) -> bool:
    return text.isprintable() and text.isascii() and len(text) <= MOST_TYPED
