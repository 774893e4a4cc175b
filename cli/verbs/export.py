"""`mmprof export`: the tables of a trace for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Force, OneTrace, Quiet

if TYPE_CHECKING:
    from mmprof.analyzers.query import QueryTable
    from mmprof.analyzers.trace import Trace

ALL = "all"


@app.command()
def export(
    trace: OneTrace,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .parquet, .arrow or .csv file; with --table all a folder of Parquet files.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str, typer.Option(metavar="TABLE", help="A table of `mmprof query TRACE`, or all.")
    ] = "activities",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write tables of a trace as Parquet, Arrow or CSV."""
    from mmprof.analyzers.load import load  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.query import listed_tables, query_tables  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415

    tables = listed_tables(list(query_tables()) if table == ALL else [table])
    folder = table == ALL
    paths = [Path(output, f"{t.name}.parquet") for t in tables] if folder else [Path(output)]
    _check(paths, folder=folder, force=force)
    with progress("exporting", [trace], quiet=quiet):
        _write(load(trace), tables, paths, force=force)


def _check(paths: Sequence[Path], *, folder: bool, force: bool) -> None:
    """Find what is wrong with the output before the trace is read; make the folder."""
    from mmprof.analyzers.files import check_writable  # noqa: PLC0415
    from mmprof.cli.frames import check_suffix  # noqa: PLC0415
    from mmprof.cli.output import make_folder  # noqa: PLC0415

    if folder:
        make_folder(paths[0].parent)
    for path in paths:
        check_suffix(path)
        check_writable(path, force=force)


def _write(
    trace: Trace, tables: Sequence[QueryTable], paths: Sequence[Path], *, force: bool
) -> None:
    from mmprof.cli.frames import write_frame  # noqa: PLC0415

    for table, path in zip(tables, paths, strict=True):
        write_frame(table.of(trace), path, force=force)
