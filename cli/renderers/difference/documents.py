"""A difference as Markdown, for a pull request, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.cli.renderers.difference.content import LevelTable, facts, legend, tables
from mmprof.cli.renderers.difference.headline import headline
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmprof.analyzers.diff.result import Difference
    from mmprof.cli.renderers import RenderOptions

_OPEN: Final = 2
"""Tables that a reader sees at once: classes and idle causes; the others are folded."""

_LINE: Final = 1_000


def json(found: Difference, _: RenderOptions) -> str:
    """The document, whole: a program selects for itself."""
    return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"


def markdown(found: Difference, options: RenderOptions) -> str:
    """The content for a pull request."""
    return "\n\n".join(_blocks(found, options)) + "\n"


def _blocks(found: Difference, options: RenderOptions) -> Iterator[str]:
    yield f"**{_text(headline(found))}**"
    yield "\n".join(f"- {_text(line)}" for line in facts(found))
    for at, table in enumerate(tables(found, by=options.by, top=options.top)):
        yield from _open(table) if at < _OPEN or options.by else _folded(table)
    if said := legend(found):
        yield _text(said)


def _open(table: LevelTable) -> Iterator[str]:
    rule = ["---", *["---:"] * len(table.columns)]
    cells = [[markdown_cell(row[0]), *map(_text, row[1:])] for row in table.rows]
    lines = [[table.title, *table.columns], rule, *cells]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield _text(table.remark)


def _folded(table: LevelTable) -> Iterator[str]:
    yield f"<details><summary>By {table.title}</summary>"
    yield from _open(table)
    yield "</details>"


def _text(line: str) -> str:
    return markdown_text(label(line, _LINE))
