"""`mmprof baseline`: the metrics of a run, kept to compare others with."""

from __future__ import annotations

from typing import Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Device, Force, Format, Quiet, Rank, Traces, Window

baselines = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(
    baselines, name="baseline", help="Keep the metrics of a run, for `mmprof check --baseline`."
)


@baselines.command()
def save(  # noqa: PLR0913  (the options of the command line)
    traces: Traces,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where it goes, never over an existing file.",
            show_default=False,
        ),
    ],
    force: Force = False,
    rank: Rank = None,
    device: Device = None,
    window: Window = "",
    quiet: Quiet = False,
) -> None:
    """Measure traces and save their metrics; several traces of one rank are runs of the same work."""
    from mmprof import __version__  # noqa: PLC0415
    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.gate.baseline import baseline_of, encoded  # noqa: PLC0415
    from mmprof.analyzers.gate.measure import measure  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    with progress("measuring", traces, quiet=quiet):
        measured = measure(traces, Options(rank=rank, device=device, window=window))
    destination.write(encoded(baseline_of(measured, version=__version__)))


@baselines.command()
def show(
    baseline: Annotated[
        str, typer.Argument(metavar="BASE", help="A saved baseline.", show_default=False)
    ],
    *,
    format_name: Format = "",
) -> None:
    """The metrics of a saved baseline."""
    from pathlib import Path  # noqa: PLC0415

    from mmprof.analyzers.gate.baseline import read_baseline  # noqa: PLC0415
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.metric_lists import listed_metrics  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415

    chosen = format_of(format_name)
    destination = Destination()
    found = read_baseline(Path(baseline))
    destination.write(render_grid(listed_metrics(found.devices), chosen, destination))
