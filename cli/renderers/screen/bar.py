"""The window as one bar: busy time by class, idle time by cause, and the marks that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from mmprof.cli.renderers.headline import cause_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.cli.renderers.screen.canvas import Canvas

MOST_PARTS: Final = 7
BUSY_STYLES: Final = ("blue", "magenta", "cyan", "green", "yellow", "bright_blue", "white")
IDLE_STYLES: Final = (
    "red",
    "bright_red",
    "bright_black",
    "bright_yellow",
    "bright_magenta",
    "red",
    "bright_black",
)
IDLE_MARKS: Final = ".:-'~^_"
_REST_MARKS: Final = ("*", ",")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the window.

    Attributes:
        name: Class or idle cause, or how many of them are together here.
        time_ns: Its time.
        mark: The character that stands for it where there is no colour.
        style: Its colour.
        idle: Whether it is idle time.
    """

    name: str
    time_ns: int
    mark: str
    style: str
    idle: bool

    def cell(self, canvas: Canvas) -> str:
        """The character that stands for it on this canvas."""
        if not (canvas.color and canvas.unicode):
            return self.mark
        return "░" if self.idle else "█"


def busy_parts(device: DeviceReport) -> list[Part]:
    """The classes by time, the smallest ones together."""
    times = [(row.class_, row.time_ns) for row in device.value("classes")]
    marks = letters([name for name, _ in times[:MOST_PARTS]])
    return _parts(times, marks, idle=False)


def idle_parts(device: DeviceReport) -> list[Part]:
    """The idle causes by time, the smallest ones together."""
    times = [(cause_label(row.cause), row.time_ns) for row in device.value("idle_causes")]
    return _parts(times, IDLE_MARKS, idle=True)


def bar(parts: Sequence[Part], canvas: Canvas) -> Text:
    """All parts in proportion over the whole width."""
    text = Text(no_wrap=True)
    for part, cells in zip(
        parts, proportional([p.time_ns for p in parts], canvas.width), strict=True
    ):
        text.append(part.cell(canvas) * cells, part.style)
    return text


def proportional(amounts: Sequence[int], cells: int) -> list[int]:
    """Cells for each amount: they sum to `cells`, and what is there has at least one.

    The largest remainders are rounded up; cells for what would have none come from the largest.
    """
    total = sum(amounts)
    if not total:
        return [0] * len(amounts)
    shares = [max(amount * cells // total, amount > 0) for amount in amounts]
    by_remainder = sorted(range(len(amounts)), key=lambda i: -(amounts[i] * cells % total))
    for i in by_remainder[: max(cells - sum(shares), 0)]:
        shares[i] += 1
    shares[max(range(len(shares)), key=shares.__getitem__)] += cells - sum(shares)
    return [int(share) for share in shares]


def _parts(times: Sequence[tuple[str, int]], marks: str, *, idle: bool) -> list[Part]:
    """The largest parts, and the others as one; one other is shown itself."""
    shown = len(times) if len(times) <= MOST_PARTS else MOST_PARTS - 1
    styles: Any = IDLE_STYLES if idle else BUSY_STYLES
    parts = [
        Part(name, time_ns, mark, style, idle)
        for (name, time_ns), mark, style in zip(times[:shown], marks, styles, strict=False)
    ]
    rest = times[shown:]
    if rest:
        together = sum(time_ns for _, time_ns in rest)
        parts.append(Part(f"{len(rest)} more", together, _REST_MARKS[idle], styles[-1], idle))
    return parts


def letters(names: Sequence[str]) -> str:
    """A letter for each name, its first one that no other has."""
    taken = ""
    for name in names:
        free = (
            c for c in f"{name}abcdefghijklmnopqrstuvwxyz".upper() if c.isalpha() and c not in taken
        )
        taken += next(free)
    return taken
