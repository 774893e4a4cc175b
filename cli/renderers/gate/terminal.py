"""A check on a screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.text import Text

from mmprof.analyzers.gate.judge import CROSSED, NOISE, OK
from mmprof.cli.renderers.gate.content import (
    COLUMNS,
    NUMBERS,
    details,
    ordered,
    remarks,
    row,
    subject,
    verdict,
)
from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.layout import Column, grid, prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

_STYLES: Final = {CROSSED: "bold red", NOISE: "yellow", OK: "green"}
_VITAL: Final = ("verdict", "condition", "now", "limit")
_BLANK: Final = Text("")


def screen(outcome: Outcome, options: RenderOptions) -> str:
    """The verdict, a row for each judgement, and what there is to say of those that are crossed."""
    canvas = Canvas.of(options)
    return canvas.draw(_blocks(outcome, canvas))


def _blocks(outcome: Outcome, canvas: Canvas) -> Iterator[RenderableType]:
    check = outcome.check
    yield prose(verdict(check), canvas, "bold green" if check.ok else "bold red")
    yield prose(subject(check), canvas, "dim")
    yield from (prose(remark, canvas, "yellow") for remark in remarks(check))
    yield _BLANK
    shown = ordered(check)
    columns = [
        Column(name, number=at in NUMBERS, vital=name in _VITAL) for at, name in enumerate(COLUMNS)
    ]
    styles = [_STYLES[judgement.status] for judgement in shown]
    yield grid(canvas, columns, [row(judgement) for judgement in shown], styles=styles)
    for judgement in (*check.crossed, *check.noisy):
        yield _BLANK
        yield from (
            prose(line, canvas, "dim" * (at > 0)) for at, line in enumerate(details(judgement))
        )
    if not check.ok:
        yield _BLANK
        yield from (prose(line, canvas) for line in outcome.headlines)
