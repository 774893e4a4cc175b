"""A characterization as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.cli.renderers.characterization.sections import NOTHING, Section, facts, sections
from mmprof.cli.renderers.safe import markdown_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmprof.cli.renderers import RenderOptions
    from mmprof.tracer.characterize_results import Characterization

FIGURE_COLUMNS: Final = 96


def json(found: Characterization, _: RenderOptions) -> str:
    """The document, whole."""
    return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"


def markdown(found: Characterization, _: RenderOptions) -> str:
    """The sections for a page."""
    said = [f"- {markdown_text(line)}" for line in facts(found)]
    blocks = ["\n".join(said), *(_block(section) for section in sections(found))]
    return "\n\n".join(blocks) + "\n"


def _block(section: Section) -> str:
    return "\n\n".join(_parts(section))


def _parts(section: Section) -> Iterator[str]:
    yield f"### {markdown_text(section.question)}"
    if section.claim:
        yield f"Claim: {markdown_text(section.claim)}."
    if section.strips:
        yield f"```text\n{_figure(section)}```"
    yield _table(section)
    yield f"Origin: {markdown_text(section.origin)}."


def _figure(section: Section) -> str:
    from mmprof.cli.renderers.characterization.figure import figure  # noqa: PLC0415  (rich: 60 ms)
    from mmprof.cli.renderers.screen.canvas import Canvas  # noqa: PLC0415

    canvas = Canvas(FIGURE_COLUMNS, color=False, encoding="utf-8", unicode=True)
    lines = canvas.draw(figure(section, canvas)).splitlines()
    return "".join(f"{printable(line)}\n" for line in lines)


def _table(section: Section) -> str:
    rule = ["---" if at < section.texts else "---:" for at in range(len(section.columns))]
    rows = [[_cell(text) for text in row] for row in (section.columns, *section.rows)]
    lines: Sequence[Sequence[str]] = [rows[0], rule, *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str) -> str:
    return text if text == NOTHING else markdown_text(text)
