"""Recommendations as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

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
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmprof.analyzers.whatif.recommendation import Recommendation, Recommendations
    from mmprof.cli.renderers import RenderOptions

_LINE: Final = 1_000


def json(found: Recommendations, _: RenderOptions, everything: bool) -> str:  # noqa: ARG001, FBT001  (a `Render`)
    """The document, whole: a program selects for itself."""
    return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"


def markdown(found: Recommendations, _: RenderOptions, everything: bool) -> str:  # noqa: FBT001  (a `Render`)
    """The content for a page."""
    return "\n\n".join(_blocks(found, everything=everything)) + "\n"


def _blocks(found: Recommendations, *, everything: bool) -> Iterator[str]:
    yield "\n".join(f"- {_text(line)}" for line in facts(found))
    if found.recommendations:
        yield _table(COLUMNS, [row(entry) for entry in found.recommendations], numbers=NUMBERS)
        if found.stack:
            yield _text(together(found.stack))
        yield "\n".join(_item(entry) for entry in found.recommendations)
    else:
        yield _text(nothing(found))
    if everything and found.rejected:
        rows = [(entry.lever, entry.why) for entry in found.rejected]
        yield f"#### Not recommended\n\n{_table(REJECTED_COLUMNS, rows)}"


def _item(entry: Recommendation) -> str:
    return f"- {markdown_cell(entry.lever)}: {' '.join(_text(line) for line in details(entry))}"


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    rule = ["---:" if at in numbers else "---" for at in range(len(columns))]
    cells = [[markdown_cell(line[0]), *map(_text, line[1:])] for line in rows]
    lines = ["| " + " | ".join(line) + " |" for line in (columns, rule, *cells)]
    return "\n".join(lines)


def _text(line: str) -> str:
    return markdown_text(label(line, _LINE))
