"""`mmprof query`: SQL over the tables of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Force, Format, OneTrace, Output, Quiet

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace
    from mmprof.cli.grid import Grid

SCREEN_ROWS = 50


@app.command()
def query(  # noqa: PLR0913  (the options of the command line)
    trace: OneTrace,
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help="A SELECT; without it the tables are listed.", show_default=False
        ),
    ] = "",
    *,
    format_name: Format = "",
    output: Output = "",
    force: Force = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Most rows, 0 for all; default: 50 on a terminal, else all.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """SQL over the events, classes, costs and gaps of a trace."""
    from mmprof.analyzers.load import load  # noqa: PLC0415
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    chosen = format_of(format_name, output)
    most = (SCREEN_ROWS if chosen == "terminal" and sql else 0) if limit is None else limit
    with progress("reading", [trace], quiet=quiet):
        loaded = load(trace)
        grid = _answer(loaded, sql, most) if sql else _listing(loaded)
    destination.write(render_grid(grid, chosen, destination))


def _answer(trace: Trace, sql: str, limit: int) -> Grid:
    from mmprof.analyzers.query import run_sql  # noqa: PLC0415
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    found = run_sql(trace, sql)
    shown = found.head(limit) if limit else found
    return Grid(found.columns, shown.rows(), "mmprof.query/1", len(found) - len(shown))


def _listing(trace: Trace) -> Grid:
    """Every table with its rows, and its columns."""
    from mmprof.analyzers.query import query_tables  # noqa: PLC0415
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows: list[tuple[str, str, str]] = []
    for table in query_tables().values():
        frame = table.of(trace)
        rows.append((table.name, f"{len(frame):,} rows", table.summary))
        rows += [
            (f"  {name}", str(frame.schema[name]), text) for name, text in table.columns.items()
        ]
    return Grid(("table", "type", "what it holds"), rows, "mmprof.tables/1")
