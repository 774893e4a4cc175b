"""Arguments and options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Traces = Annotated[
    list[str],
    typer.Argument(
        metavar="TRACE...",
        help="Trace files (.json, .json.gz, .json.zst), folders with a trace per rank, or - for standard input.",
        show_default=False,
    ),
]
OneTrace = Annotated[
    str,
    typer.Argument(
        metavar="TRACE", help="Trace file, or - for standard input.", show_default=False
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json, markdown or csv; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write to a file, never over an existing one.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Rank = Annotated[int | None, typer.Option(help="Only this rank.", show_default=False)]
Device = Annotated[int | None, typer.Option(help="Only this device.", show_default=False)]
Window = Annotated[
    str,
    typer.Option(
        metavar="WINDOW",
        help="Only this part: a phase or annotation (decode, decode[5], ProfilerStep#3), or a time range (10ms..25ms).",
        show_default=False,
    ),
]
Twin = Annotated[
    str,
    typer.Option(
        metavar="TRACE",
        help="A trace of the same work without CUDA graphs: its operators stand for those of graph replays.",
        show_default=False,
    ),
]
DeviceSpecFile = Annotated[
    str,
    typer.Option(
        "--device-spec",
        metavar="FILE",
        help="Peaks of a device that the table lacks, as JSON or TOML.",
        show_default=False,
    ),
]
