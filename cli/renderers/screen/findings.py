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
_SEVERITY_STYLES: Final = {"high": "bold red", "medium": "yellow", "low": "dim"}
_INDENT: Final = 14


def findings(device: DeviceReport, canvas: Canvas) -> RenderableType:
    """Severity, code, what was found, the lever, its gain at most, and where."""
    ordered = top_steps(device.findings)
    if not ordered:
        return heading("Do next", "no rule found anything that can be gained")
    more = len(ordered) - MOST_FINDINGS
    rest = f"{more} more: --format markdown" if more > 0 else ""
    shown = [line for finding in ordered[:MOST_FINDINGS] for line in _lines(finding, canvas)]
    return Group(heading("Do next", rest), *shown)


def _lines(finding: Finding, canvas: Canvas) -> list[Text]:
    """The title beside severity, code and gain, wrapped once at most; below it the advice."""
    gain = f"at most {units.factor(finding.gain.high)}"
    room = canvas.width - _INDENT - len(gain) - GAP
    titles = wrap(printable(clip(finding.title)), room, max_lines=2, placeholder=f" {canvas.ellipsis}")
    first = Text.assemble(
        (f"{finding.severity:<6}", _SEVERITY_STYLES[finding.severity]),
        (f"  {finding.code:<6}", "bold"),
    )
    first.append((titles or [""])[0].ljust(room + GAP))
    first.append(gain, "bold")
    rest = [Text(" " * _INDENT + line) for line in titles[1:]]
    return [first, *rest, Text(" " * _INDENT + _advice(finding, canvas), "dim")]


def _advice(finding: Finding, canvas: Canvas) -> str:
    lever = f"lever {finding.lever}" if finding.lever else "no lever"
    where = f", at {finding.evidence.where}" if finding.evidence.where else ""
    return label(lever + where, canvas.width - _INDENT, ellipsis=canvas.ellipsis)
