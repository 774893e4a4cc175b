"""`mmprof analyze`: where the time of a trace went, and why."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import (
    Device,
    DeviceSpecFile,
    Force,
    Format,
    Output,
    Quiet,
    Rank,
    Traces,
    Twin,
    Window,
)

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.cli.output import Destination
    from mmprof.cli.renderers import Renderer, RenderOptions

CROSSED = 1


@app.command()
def analyze(  # noqa: PLR0913  (the options of the command line)
    traces: Traces,
    *,
    format_name: Format = "",
    output: Output = "",
    force: Force = False,
    top: Annotated[int, typer.Option(min=1, help="Most rows of a table.")] = 10,
    by: Annotated[
        str,
        typer.Option(
            metavar="TABLE",
            help="Show one table only: class, cause, bound, op, kernel, phase, module, shape, gap or another.",
            show_default=False,
        ),
    ] = "",
    rank: Rank = None,
    device: Device = None,
    window: Window = "",
    device_spec: DeviceSpecFile = "",
    twin: Twin = "",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit 1 where it holds, as in 'idle_share>50%', 'cause:sync>10%' or 'findings.high>0'. May be repeated.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Where the time of a trace went, and why."""
    from mmprof.analyzers.load.ahead import ReadAhead  # noqa: PLC0415

    ahead = (
        ReadAhead(traces[0]) if Path(traces[0]).is_file() else None
    )  # while the analyses are imported
    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.analyze import analyze as analyze_paths  # noqa: PLC0415
    from mmprof.analyzers.contract import analysis_document  # noqa: PLC0415
    from mmprof.cli.output import Destination, say  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.thresholds import absolute, crossings  # noqa: PLC0415

    # Everything that can be wrong with the options is found before the trace is read.
    thresholds = [absolute(text) for text in fail_on or ()]
    destination = Destination(output, force)
    destination.check()
    renderer, table = _renderer(format_name, output), _table(by)
    options = Options(rank=rank, device=device, window=window, spec=_spec(device_spec), twin=twin)
    with progress("analyzing", traces, quiet=quiet):
        report = analyze_paths(traces, options, ahead=ahead)
    crossed = crossings(analysis_document(report), thresholds) if thresholds else []
    destination.write(renderer.render(report, _render_options(destination, top=top, by=table)))
    for sentence in crossed:
        say(sentence)
    if crossed:
        raise typer.Exit(CROSSED)


def _renderer(format_name: str, output: str) -> Renderer:
    """The renderer of a format; without one that of the output's suffix, of the terminal where it has none."""
    from mmprof.cli.formats import format_of  # noqa: PLC0415
    from mmprof.cli.renderers import renderers  # noqa: PLC0415

    known = renderers()
    by_suffix = {suffix: name for name, r in known.items() for suffix in r.suffixes}
    return known[format_of(format_name, output, known, by_suffix)]


def _render_options(destination: Destination, *, top: int, by: str) -> RenderOptions:
    from mmprof.cli.renderers import RenderOptions  # noqa: PLC0415

    encoding = "utf-8" if destination.is_file else ""
    return RenderOptions(top, by, destination.width, destination.color, encoding)


def _table(by: str) -> str:
    """The word of a table, in its own spelling."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.analyzers.registry import tables  # noqa: PLC0415

    known: Collection[str] = sorted({table.by for table in tables() if table.by})
    return choose(by, known, what="the table") if by else ""


def _spec(path: str) -> DeviceSpec | None:
    from mmprof.analyzers.devices import load_spec_file  # noqa: PLC0415

    return load_spec_file(Path(path)) if path else None
