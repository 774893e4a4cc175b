"""A verification as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mmprof.cli.renderers.safe import markdown_text
from mmprof.cli.renderers.verification.tables import facts, tables
from mmprof.cli.renderers.verification.verdict_table import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.verification.verdict_table import VerdictTable
    from mmprof.tracer.verify_results import Verification


def json(found: Verification, _: RenderOptions) -> str:
    """The document, whole."""
    return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"


def markdown(found: Verification, _: RenderOptions) -> str:
    """The facts, then the tables."""
    return markdown_of(facts(found), tables(found))


def markdown_of(lines: Iterable[str], drawn: Iterable[VerdictTable]) -> str:
    """Sentences, then tables."""
    said = "\n".join(f"- {markdown_text(line)}" for line in lines)
    blocks = [block for table in drawn for block in _blocks(table)]
    return "\n\n".join([said, *blocks]) + "\n"


def _blocks(table: VerdictTable) -> Iterator[str]:
    yield f"### {table.heading}"
    rows = [[_cell(text) for text in row] for row in (table.columns, *table.rows)]
    lines = [rows[0], ["---"] * len(table.columns), *rows[1:]]
    yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    if table.remarks:
        yield "\n".join(f"- {markdown_text(line)}" for line in table.remarks)


def _cell(text: str) -> str:
    return text if text == NOTHING else markdown_text(text)
