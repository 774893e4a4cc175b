"""`mmprof recommend`: which levers would make a recorded run faster, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Device, DeviceSpecFile, Force, OneTrace, Output, Quiet, Window

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Options
    from mmprof.analyzers.whatif.recommendation import Recommendations


RecommendFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json or markdown; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]


@app.command()
def recommend(  # noqa: PLR0913  (the options of the command line)
    trace: OneTrace,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list the levers that are not recommended, and why.")
    ] = False,
    format_name: RecommendFormat = "",
    output: Output = "",
    force: Force = False,
    device: Device = None,
    window: Window = "",
    device_spec: DeviceSpecFile = "",
    quiet: Quiet = False,
) -> None:
    """Which levers would make a run faster, and by how much."""
    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.devices import load_spec_file  # noqa: PLC0415
    from mmprof.cli.formats import format_of, render_options  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.renderers.recommendation import RENDERERS  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    chosen = format_of(format_name, output, RENDERERS)
    spec = load_spec_file(Path(device_spec)) if device_spec else None
    options = Options(device=device, window=window, spec=spec)
    with progress("replaying", [trace], quiet=quiet):
        found = _recommendations(trace, options)
    destination.write(RENDERERS[chosen](found, render_options(destination), everything))


def _recommendations(path: str, options: Options) -> Recommendations:
    """The recommendations for the busiest of the devices that the options select."""
    from mmprof.analyzers.analyze import device_name, views  # noqa: PLC0415
    from mmprof.analyzers.errors import MmprofError  # noqa: PLC0415
    from mmprof.analyzers.load import load  # noqa: PLC0415
    from mmprof.analyzers.whatif.by_hand import BY_HAND  # noqa: PLC0415
    from mmprof.analyzers.whatif.recommendation import recommend as rank  # noqa: PLC0415
    from mmprof.tracer.lever_registry import levers  # noqa: PLC0415

    found = list(views(load(path), options))
    if not found:
        raise MmprofError(
            "MM-E022",
            "nothing in the input matches the selection",
            found=f"device {options.device}",
            hint="leave out --device to see what there is",
        )
    view = max(found, key=lambda each: each.busy_ns)
    return rank(view, [*levers().values(), *BY_HAND], name=device_name(view), window=options.window)
