"""The three things worth doing next."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from mmprof.cli.renderers import units
from mmprof.cli.renderers.headline import top_steps
from mmprof.cli.renderers.safe import clip, label, printable
from mmprof.cli.renderers.screen.layout import GAP, heading

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.analyzers.findings import Finding
    from mmprof.cli.renderers.screen.canvas import Canvas

MOST_FINDINGS: Final = 3
GAIN_BESIDE_COLUMNS: Final = 70
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
    gain = f"at most {units.factor(finding.gain.high)}"
    beside = canvas.width >= GAIN_BESIDE_COLUMNS
    room = canvas.width - _INDENT - (len(gain) + GAP) * beside
    titles = wrap(
        printable(clip(finding.title)), room, max_lines=2, placeholder=f" {canvas.ellipsis}"
    )
    first = Text.assemble(
        (f"{finding.severity:<6}", _SEVERITY_STYLES[finding.severity]),
        (f"  {finding.code:<6}", "bold"),
    )
    first.append(" ".join(titles[:1]).ljust(room + GAP))
    first.append(gain if beside else "", "bold")
    advice = _advice(finding, "" if beside else gain)
    below = Text(
        " " * _INDENT + label(advice, canvas.width - _INDENT, ellipsis=canvas.ellipsis), "dim"
    )
    return [first, *(Text(" " * _INDENT + line) for line in titles[1:]), below]


def _advice(finding: Finding, gain: str) -> str:
    lever = f"lever {finding.lever}" if finding.lever else ""
    return "; ".join(part for part in (gain, lever, finding.evidence.where) if part)
