"""`mmprof export`: a trace for other programs, as tables or with mmprof's tracks for a trace viewer."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.options import Force, Quiet

if TYPE_CHECKING:
    from mmprof.analyzers.annotated import Document, Recorded
    from mmprof.analyzers.query import QueryTable
    from mmprof.analyzers.trace import Trace

ALL = "all"
ACTIVITIES = "activities"


@app.command()
def export(
    traces: Annotated[
        list[str],
        typer.Argument(
            metavar="TRACE [AFTER]",
            help="Trace file, folder with a trace per rank, or - for standard input; two of them for one time line.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .parquet, .arrow or .csv file for a table, a .json, .json.gz or .json.zst file for an annotated "
            "trace; with --table all a folder of Parquet files.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str, typer.Option(metavar="TABLE", help="A table of `mmprof query TRACE`, or all.")
    ] = ACTIVITIES,
    tracks_only: Annotated[
        bool,
        typer.Option("--tracks-only", help="An annotated trace without the trace's own events."),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write tables, or the trace with tracks for Perfetto."""
    from mmprof.cli.trace_file import trace_suffix  # noqa: PLC0415

    if table == ACTIVITIES and trace_suffix(Path(output)):
        _export_trace(traces, Path(output), tracks_only=tracks_only, force=force, quiet=quiet)
        return
    if len(traces) > 1 or tracks_only:
        raise _no_trace_file(output, len(traces))
    if table == ACTIVITIES:
        _require_format(output)
    _export_tables(traces[0], output, table, force=force, quiet=quiet)


def _require_format(output: str) -> None:
    """Name all that can be written: without --table, that is a table or a trace."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.cli.frames import FRAME_SUFFIXES  # noqa: PLC0415  (polars: 0.2 s)
    from mmprof.cli.trace_file import TRACE_WRITERS  # noqa: PLC0415

    choose(Path(output).suffix, (*FRAME_SUFFIXES, *TRACE_WRITERS), what="a format for the suffix")


def _no_trace_file(output: str, count: int) -> MmprofError:
    return MmprofError(
        "MM-E029",
        "two traces go into one annotated trace"
        if count > 1
        else "only an annotated trace has tracks",
        found=f"{count} traces, --output {output}",
        hint="-o annotated.json.gz, without --table",
    )


def _export_trace(
    traces: Sequence[str], path: Path, *, tracks_only: bool, force: bool, quiet: bool
) -> None:
    from mmprof.analyzers.annotated import recorded_files  # noqa: PLC0415
    from mmprof.analyzers.files import check_writable  # noqa: PLC0415
    from mmprof.cli.output import say  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.trace_file import VIEWER, write_trace  # noqa: PLC0415

    if len(traces) > 2:
        raise _too_many(traces)
    if traces.count("-") > 1:
        raise _only_once()
    check_writable(path, force=force)
    with progress("exporting", traces, quiet=quiet), _readable_twice(traces) as names:
        sides = [recorded_files(name) for name in names]
        kept = sides[0][0].path if len(sides) == len(sides[0]) == 1 and not tracks_only else ""
        with _sidecar_kept(kept, path, force=force):
            document = _document(sides, tracks_only=tracks_only)
            write_trace(document, path, force=force)
    if document.left_out:
        say(f"{document.left_out:,} damaged pieces of the event list were left out")
    if not quiet:
        say(f"open {path} in {VIEWER}")


def _too_many(traces: Sequence[str]) -> MmprofError:
    return MmprofError(
        "MM-E029",
        "export takes one trace, or one before and one after",
        found=f"{len(traces)} traces",
        hint="a folder for the ranks of one run",
    )


def _only_once() -> MmprofError:
    return MmprofError(
        "MM-E029",
        "standard input can be one of two traces only",
        found="- twice",
        hint="give the other one as a file",
    )


def _document(sides: Sequence[list[Recorded]], *, tracks_only: bool) -> Document:
    from mmprof.analyzers.annotated import (  # noqa: PLC0415
        aligned,
        annotated_document,
        joined_document,
        merged,
    )

    if len(sides) == 2:
        return joined_document(aligned(*sides), tracks_only=tracks_only)
    if len(sides[0]) == 1:
        return annotated_document(sides[0][0], tracks_only=tracks_only)
    return joined_document(merged(sides[0]), tracks_only=tracks_only)


@contextmanager
def _sidecar_kept(trace: str, output: Path, *, force: bool) -> Generator[None, None, None]:
    """Copy what stands beside a trace to beside the output: without it the analysis would lack what was measured."""
    from mmprof.analyzers.files import replacing  # noqa: PLC0415
    from mmprof.analyzers.sidecar import sidecar_path  # noqa: PLC0415

    beside = sidecar_path(trace) if trace else None
    if beside is None or not beside.is_file() or sidecar_path(output) == beside:
        yield
        return
    with replacing(sidecar_path(output), force=force) as temporary:
        shutil.copyfile(beside, temporary)
        yield


@contextmanager
def _readable_twice(traces: Sequence[str]) -> Generator[list[str], None, None]:
    """The traces, with standard input as a file: its events are read once for the tracks, and once to be copied."""
    if "-" not in traces:
        yield list(traces)
        return
    with tempfile.TemporaryDirectory(prefix="mmprof-") as folder:
        kept = Path(folder, "standard-input")
        with kept.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [str(kept) if name == "-" else name for name in traces]


def _export_tables(trace: str, output: str, table: str, *, force: bool, quiet: bool) -> None:
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
