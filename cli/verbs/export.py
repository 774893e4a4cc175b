"""`mmprof export`: the tables of a trace for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Force, OneTrace, Quiet

if TYPE_CHECKING:
    import polars as pl

    from mmprof.analyzers.trace import Trace

ALL = "all"
FOLDER_SUFFIX = ".parquet"


@app.command()
def export(
    trace: OneTrace,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A .parquet, .arrow or .csv file; a folder for --table all."
        ),
    ],
    table: Annotated[str, typer.Option(help="Which table; all makes a folder of Parquet files.")] = "classified",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write the tables of a trace as Parquet, Arrow or CSV."""
    from mmprof.analyzers.load import load  # noqa: PLC0415
    from mmprof.analyzers.query import listed_tables, query_tables  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415

    tables = listed_tables(query_tables() if table == ALL else [table])
    ...
