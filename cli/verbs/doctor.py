"""`mmprof doctor`: what is installed here, which devices there are, whether the profiler works."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from typing import Final

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Format

SCHEMA: Final = "mmprof.doctor/1"
FAILED: Final = 1
PACKAGES: Final = (
    "mmprof",
    "polars",
    "torch",
    "transformers",
    "torchao",
    "triton",
    "HolisticTraceAnalysis",
)

Check = tuple[str, str, str]


@app.command()
def doctor(*, format_name: Format = "") -> None:
    """What is installed, and whether tracing works."""
    from mmprof.cli.grid import Grid, format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415

    chosen = format_of(format_name)
    checks = [*_installed(), *_tracing()]
    destination = Destination()
    grid = Grid(("what", "found", "try"), checks, SCHEMA)
    destination.write(render_grid(grid, chosen, destination))
    if any(hint for _, _, hint in checks):
        raise typer.Exit(FAILED)


def _installed() -> Iterator[Check]:
    from importlib import metadata  # noqa: PLC0415

    yield "python", platform.python_version(), ""
    for package in PACKAGES:
        try:
            yield package, metadata.version(package), ""
        except metadata.PackageNotFoundError:
            yield package, "not installed", ""


def _tracing() -> Iterator[Check]:
    if importlib.util.find_spec("torch") is None:
        yield "tracing", "needs torch", "pip install 'mmprof[trace]'"
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from mmprof.tracer.check import profiler_checks  # noqa: PLC0415  (torch: seconds)

    yield from profiler_checks()
