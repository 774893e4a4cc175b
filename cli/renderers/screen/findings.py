"""The three things worth doing next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from mmprof.cli.renderers.headline import gain_of, top_steps
from mmprof.cli.renderers.safe import columns_of, label, lines_of
from mmprof.cli.renderers.screen.layout import GAP, heading

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.analyzers.findings import Finding
    from mmprof.cli.renderers.screen.canvas import Canvas

MOST_FINDINGS: Final = 3
GAIN_BESIDE_COLUMNS: Final = 70
GAIN_COLUMNS: Final = len("at most 1.00x")
_SEVERITY_STYLES: Final = {"high": "bold red", "medium": "yellow", "low": "dim"}
_INDENT: Final = 14


def findings(device: DeviceReport, canvas: Canvas) -> RenderableType:
    """Severity, code, what was found, the lever, its gain at most, and where."""
    ordered = top_steps(device.findings)
    if not ordered:
        return heading("Do next", "no rule found anything that can be gained")
    more = len(ordered) - MOST_FINDINGS
    rest = f"{more} more in --format markdown" if more > 0 else ""
    shown = [line for finding in ordered[:MOST_FINDINGS] for line in _lines(finding, canvas)]
    return Group(heading("Do next", rest), *shown)


def _lines(finding: Finding, canvas: Canvas) -> list[Text]:
    """The title after severity and code, wrapped once at most, the gain beside it, the lever and the place below."""
    gain = gain_of(finding)
    beside = canvas.width >= GAIN_BESIDE_COLUMNS
    room = canvas.width - _INDENT - (GAIN_COLUMNS + GAP) * beside
    title, *more = lines_of(finding.title, room, most=2, ellipsis=canvas.ellipsis) or [""]
    first = Text.assemble(
        (f"{finding.severity:<6}", _SEVERITY_STYLES[finding.severity]),
        (f"  {finding.code:<6}", "bold"),
        title,
        (
            " " * (room + GAP - columns_of(title)) + gain.rjust(GAIN_COLUMNS) if beside else "",
            "bold",
        ),
    )
    advice = _advice(finding, "" if beside else gain)
    below = label(advice, canvas.width - _INDENT, ellipsis=canvas.ellipsis)
    styled = [(line, "") for line in more] + [(below, "dim")] * bool(below)
    return [first, *(Text(" " * _INDENT + line, style) for line, style in styled)]


def _advice(finding: Finding, gain: str) -> str:
    lever = f"lever {finding.lever}" if finding.lever else ""
    return "; ".join(part for part in (gain, lever, finding.evidence.where) if part)
