"""Bars of a section: a label, the bar, what it amounts to, and what the marks stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.cli.renderers.safe import columns_of, label
from mmprof.cli.renderers.screen.bar import BUSY_STYLES, IDLE_MARKS, IDLE_STYLES, Part, bar, letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmprof.cli.renderers.characterization.sections import Section, Strip
    from mmprof.cli.renderers.screen.canvas import Canvas

_SCALE: Final = 1_000_000
_GAP: Final = "  "
_LEAST_CELLS: Final = 10


def figure(section: Section, canvas: Canvas) -> Iterator[Text]:
    """The lines of a section's bars; none where it has none."""
    if not section.strips:
        return
    parts = _parts(section)
    labels = _padded([label(strip.label, canvas.width // 3) for strip in section.strips])
    totals = _padded([strip.total for strip in section.strips])
    room = canvas.width - columns_of(labels[0]) - columns_of(totals[0]) - 2 * len(_GAP)
    cells = max(room, _LEAST_CELLS)
    for strip, name, total in zip(section.strips, labels, totals, strict=True):
        drawn = bar(
            _drawn(strip, parts), replace(canvas, width=max(1, round(cells * strip.length)))
        )
        blank = " " * (cells - len(drawn))
        yield Text.assemble(name, _GAP, drawn, blank, _GAP, (total, "dim"), no_wrap=True)
    if len(parts) > 1:
        yield _legend(parts, canvas)


def _padded(texts: Sequence[str]) -> list[str]:
    width = max(map(columns_of, texts))
    return [text + " " * (width - columns_of(text)) for text in texts]


def _parts(section: Section) -> dict[str, Part]:
    """The parts by name, in the order of their first appearance, with their marks and colours."""
    names = list(
        dict.fromkeys(n for strip in section.strips for n, amount in strip.parts if amount > 0)
    )
    busy = [name for name in names if name not in section.idle]
    idle = [name for name in names if name in section.idle]
    marks = [*letters(busy), *(IDLE_MARKS[i % len(IDLE_MARKS)] for i in range(len(idle)))]
    styles = [
        *(BUSY_STYLES[i % len(BUSY_STYLES)] for i in range(len(busy))),
        *(IDLE_STYLES[i % len(IDLE_STYLES)] for i in range(len(idle))),
    ]
    return {
        name: Part(name, 0, mark, style, name in section.idle)
        for name, mark, style in zip([*busy, *idle], marks, styles, strict=True)
    }


def _drawn(strip: Strip, parts: Mapping[str, Part]) -> list[Part]:
    amounts = [(name, round(_SCALE * amount)) for name, amount in strip.parts if amount > 0]
    return [replace(parts[name], time_ns=amount) for name, amount in amounts]


def _legend(parts: Mapping[str, Part], canvas: Canvas) -> Text:
    line = Text()
    for part in parts.values():
        line.append(f"{part.cell(canvas)} ", part.style)
        line.append(f"{part.name}{_GAP}", "dim")
    return line
