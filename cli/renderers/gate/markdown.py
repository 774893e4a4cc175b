"""A check as Markdown: for a pull request, and for the summary of a workflow step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

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
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text

if TYPE_CHECKING:
    from mmprof.analyzers.gate.judge import Judgement
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

_LINE: Final = 1_000
_CONDITION: Final = COLUMNS.index("condition")


def markdown(outcome: Outcome, _: RenderOptions) -> str:
    """The verdict, a table of all judgements, and what there is to say of those that are crossed."""
    return "\n\n".join(_blocks(outcome)) + "\n"


def _blocks(outcome: Outcome) -> Iterator[str]:
    check = outcome.check
    yield f"### mmprof check: {_text(verdict(check))}"
    yield _text(subject(check))
    if said := [f"- {_text(remark)}" for remark in remarks(check)]:
        yield "\n".join(said)
    yield _table(ordered(check))
    if said := [f"- {_item(judgement)}" for judgement in (*check.crossed, *check.noisy)]:
        yield "\n".join(said)
    if not check.ok:
        yield from (_text(line) for line in outcome.headlines)


def _item(judgement: Judgement) -> str:
    return ". ".join(_text(line) for line in details(judgement))


def _table(judgements: list[Judgement]) -> str:
    rule = ["---:" if at in NUMBERS else "---" for at in range(len(COLUMNS))]
    rows = [_cells(row(judgement)) for judgement in judgements]
    return "\n".join("| " + " | ".join(line) + " |" for line in (COLUMNS, rule, *rows))


def _cells(cells: tuple[str, ...]) -> list[str]:
    return [
        markdown_cell(cell) if at == _CONDITION else _text(cell) for at, cell in enumerate(cells)
    ]


def _text(line: str) -> str:
    return markdown_text(label(line, _LINE))
