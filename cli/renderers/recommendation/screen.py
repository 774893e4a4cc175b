"""Recommendations on a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.cli.renderers.recommendation.content import (
    COLUMNS,
    NUMBERS,
    REJECTED_COLUMNS,
    details,
    facts,
    nothing,
    row,
    together,
)
from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.layout import Column, grid, heading, prose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from mmprof.analyzers.whatif.recommendation import Recommendations
    from mmprof.cli.renderers import RenderOptions

_BLANK: Final = Text("")
_VITAL: Final = 3


def screen(found: Recommendations, options: RenderOptions, *, everything: bool) -> str:
    """The facts, a table of levers, and what each does; with `everything` those that were rejected."""
    canvas = Canvas.of(options)
    blocks = [prose(line, canvas) for line in facts(found)]
    return canvas.draw([*blocks, *_levers(found, canvas), *_rejected(found, canvas, everything)])


def _levers(found: Recommendations, canvas: Canvas) -> Iterator[RenderableType]:
    yield _BLANK
    if not found.recommendations:
        yield prose(nothing(found), canvas)
        return
    columns = [
        Column(name, number=at in NUMBERS, vital=at < _VITAL) for at, name in enumerate(COLUMNS)
    ]
    yield grid(canvas, columns, [row(entry) for entry in found.recommendations])
    if found.stack:
        yield _BLANK
        yield prose(together(found.stack), canvas, "bold")
    for entry in found.recommendations:
        yield _BLANK
        yield heading(entry.lever)
        yield from (prose(line, canvas, "dim" * (at > 0)) for at, line in enumerate(details(entry)))


def _rejected(
    found: Recommendations,
    canvas: Canvas,
    everything: bool,  # noqa: FBT001
) -> Iterator[RenderableType]:
    if not found.rejected:
        return
    yield _BLANK
    if not everything:
        yield prose(
            f"{len(found.rejected)} more were considered; --all says why not", canvas, "dim"
        )
        return
    yield heading("Not recommended")
    columns = [Column(name, vital=True) for name in REJECTED_COLUMNS]
    narrow = [columns[0], columns[1]]
    yield grid(canvas, narrow, [(entry.lever, entry.why) for entry in found.rejected])
