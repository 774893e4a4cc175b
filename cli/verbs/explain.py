"""`mmprof explain`: the page of an error, a note or a finding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Format

SCHEMA = "mmprof.explain/1"


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to say about a code.

    Attributes:
        code: The code.
        kind: error, note or finding.
        title: One sentence.
        explain: A paragraph.
        lever: The lever that acts on a finding.
    """

    code: str
    kind: str
    title: str
    explain: str
    lever: str = ""


@app.command()
def explain(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE", help="MM-E..., MM-N... or MM...; all without one.", show_default=False
        ),
    ] = "",
    *,
    format_name: Format = "",
) -> None:
    """What a code such as MM-N003 means, and what to do."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.cli.grid import Grid, format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415

    chosen = format_of(format_name)
    pages = _pages()
    shown = (
        [
            pages[
                choose(
                    code,
                    pages,
                    what="the code",
                    code="MM-E027",
                    otherwise="`mmprof explain` lists all",
                )
            ]
        ]
        if code
        else list(pages.values())
    )
    destination = Destination()
    if chosen == "terminal" and code:
        destination.write(_page(shown[0], destination.width or 80))
        return
    columns = (
        ("code", "kind", "title")
        if chosen == "terminal"
        else ("code", "kind", "title", "explain", "lever")
    )
    rows = [tuple(getattr(page, column) for column in columns) for page in shown]
    destination.write(render_grid(Grid(columns, rows, SCHEMA), chosen, destination))


def _pages() -> dict[str, Page]:
    """All pages by code."""
    from mmprof.analyzers.error_pages import ERROR_PAGES  # noqa: PLC0415
    from mmprof.analyzers.findings import rules  # noqa: PLC0415
    from mmprof.analyzers.notes import NOTES  # noqa: PLC0415

    errors = [Page(code, "error", page.title, page.explain) for code, page in ERROR_PAGES.items()]
    notes = [
        Page(code, "note", _without_fields(kind.message), kind.explain)
        for code, kind in NOTES.items()
    ]
    findings = [
        Page(rule.code, "finding", rule.name, rule.explain, rule.lever) for rule in rules().values()
    ]
    return {page.code: page for page in (*errors, *notes, *findings)}


def _without_fields(message: str) -> str:
    """A note's sentence with `<count>` for what a trace fills in."""
    return re.sub(r"\{(\w+)\}", r"<\1>", message)


def _page(page: Page, width: int) -> str:
    import textwrap  # noqa: PLC0415

    lever = [f"Lever: {page.lever}"] if page.lever else []
    paragraphs = [f"{page.code} ({page.kind}): {page.title}", page.explain, *lever]
    return "\n\n".join(textwrap.fill(text, min(width, 100)) for text in paragraphs) + "\n"
