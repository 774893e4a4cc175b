"""A difference as Markdown, for a pull request, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.cli.renderers.difference.content import LevelTable, facts, legend, notes, tables
from mmprof.cli.renderers.difference.headline import headline
from mmprof.cli.renderers.safe import label, markdown_cell, markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    yield _listed(facts(found))
    if noted := _listed(notes(found)):
        yield from _folded("What differs besides", [noted])
    shown = list(tables(found, by=options.by, top=options.top))
    for at, table in enumerate(shown):
        is_open = at < _OPEN or options.by
        yield from _table(table) if is_open else _folded(f"By {table.title}", _table(table))
    if meant := _listed(legend(shown)):
        yield from _folded("What the marks mean", [meant])


def _table(table: LevelTable) -> Iterator[str]:
    rule = ["---", *["---:"] * len(table.columns)]
    cells = [[markdown_cell(row[0]), *map(_text, row[1:])] for row in table.rows]
    lines = [[table.title, *table.columns], rule, *cells]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield _text(table.remark)


def _folded(summary: str, blocks: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{summary}</summary>"
    yield from blocks
    yield "</details>"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _text(line: str) -> str:
    return markdown_text(label(line, _LINE))
