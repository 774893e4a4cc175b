"""`mmprof check`: a gate for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Device, DeviceSpecFile, Force, Output, Quiet, Rank, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmprof.analyzers.analyze import Options
    from mmprof.cli.gate import Demand
    from mmprof.cli.output import Destination
    from mmprof.cli.project_settings import ProjectSettings
    from mmprof.cli.renderers.gate.content import Outcome

CROSSED = 1

CheckedTraces = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TRACE...",
        help="Trace files, or folders with a trace per rank; several of one rank are runs of the same work.",
        show_default=False,
    ),
]
CheckFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json, markdown, github, sarif or junit; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]


@app.command()
def check(  # noqa: PLR0913  (the options of the command line)
    traces: CheckedTraces = None,
    *,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit 1 where it holds, as in 'idle_share>0.4' or, against a baseline, 'step_time>+5%'. May be repeated.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help="What `mmprof baseline save` wrote, or a trace.",
            show_default=False,
        ),
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Count changes within the noise as well.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare what cannot be compared.")
    ] = False,
    list_metrics: Annotated[
        bool,
        typer.Option(
            "--list-metrics", help="List what conditions can name; of a trace, with values."
        ),
    ] = False,
    format_name: CheckFormat = "",
    output: Output = "",
    force: Force = False,
    rank: Rank = None,
    device: Device = None,
    window: Window = "",
    device_spec: DeviceSpecFile = "",
    quiet: Quiet = False,
) -> None:
    """A gate for CI: exit 1 where a run crosses a limit."""
    from mmprof.cli.github_actions import annotated_errors  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415

    destination = Destination(output, force)
    with annotated_errors():
        destination.check()
        options = _options(rank, device, window, device_spec)
        paths = traces or []
        if list_metrics:
            _list_metrics(paths, options, destination, format_name)
            return
        settings = _settings()
        wanted = _demand(settings, paths, fail_on or [], baseline)
        chosen = _format(format_name, output)
        outcome = _outcome(
            paths, wanted, options, strict=strict or settings.strict, anyway=anyway, quiet=quiet
        )
        _write(outcome, chosen, destination)
    if not outcome.check.ok:
        raise typer.Exit(CROSSED)


def _options(rank: int | None, device: int | None, window: str, device_spec: str) -> Options:
    from pathlib import Path  # noqa: PLC0415

    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.devices import load_spec_file  # noqa: PLC0415

    spec = load_spec_file(Path(device_spec)) if device_spec else None
    return Options(rank=rank, device=device, window=window, spec=spec)


def _settings() -> ProjectSettings:
    from pathlib import Path  # noqa: PLC0415

    from mmprof.cli.project_settings import ProjectSettings, project_settings  # noqa: PLC0415

    try:
        folder = Path.cwd()
    except OSError:  # the folder is gone, or above one that may not be read
        return ProjectSettings()
    return project_settings(folder)


def _demand(
    settings: ProjectSettings, paths: Sequence[str], fail_on: Sequence[str], baseline: str
) -> Demand:
    from mmprof.analyzers.errors import MmprofError  # noqa: PLC0415
    from mmprof.cli.gate import demand  # noqa: PLC0415

    if not paths:
        raise MmprofError(
            "MM-E029", "Missing argument 'TRACE...'.", hint="mmprof check TRACE --fail-on CONDITION"
        )
    return demand(settings, fail_on, baseline)


def _format(format_name: str, output: str) -> str:
    from mmprof.cli.formats import format_of  # noqa: PLC0415
    from mmprof.cli.renderers.gate import RENDERERS, SUFFIXES  # noqa: PLC0415

    return format_of(format_name, output, RENDERERS, SUFFIXES)


def _outcome(
    paths: Sequence[str],
    wanted: Demand,
    options: Options,
    *,
    strict: bool,
    anyway: bool,
    quiet: bool,
) -> Outcome:
    from mmprof import __version__  # noqa: PLC0415  (reads the installed metadata)
    from mmprof.analyzers.gate.check import check as checked  # noqa: PLC0415
    from mmprof.analyzers.gate.measure import measure  # noqa: PLC0415
    from mmprof.cli.gate import headlines, read_against  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.renderers.gate.content import Outcome  # noqa: PLC0415

    with progress("checking", paths, quiet=quiet):
        against = read_against(wanted.baseline, options) if wanted.baseline else None
        measured = measure(paths, options)
        found = checked(
            measured,
            wanted.conditions,
            against,
            strict=strict,
            anyway=anyway,
            version=__version__,
        )
    return Outcome(found, headlines(measured))


def _write(outcome: Outcome, chosen: str, destination: Destination) -> None:
    from mmprof.cli.formats import render_options  # noqa: PLC0415
    from mmprof.cli.github_actions import in_workflow, publish  # noqa: PLC0415
    from mmprof.cli.renderers.gate import RENDERERS  # noqa: PLC0415
    from mmprof.cli.renderers.gate.github import without_commands  # noqa: PLC0415

    options = render_options(destination)
    text = RENDERERS[chosen](outcome, options)
    if not in_workflow():
        destination.write(text)
        return
    commands = chosen == "github"
    destination.write(text if commands or destination.is_file else without_commands(text, chosen))
    publish(outcome, options, annotate=not commands or destination.is_file)


def _list_metrics(
    paths: Sequence[str], options: Options, destination: Destination, format_name: str
) -> None:
    from mmprof.analyzers.gate.measure import measure  # noqa: PLC0415
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.metric_lists import catalog, listed_metrics  # noqa: PLC0415

    chosen = format_of(format_name, destination.path)
    grid = listed_metrics(measure(paths, options).devices) if paths else catalog()
    destination.write(render_grid(grid, chosen, destination))
