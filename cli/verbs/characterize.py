"""`mmprof characterize`: how this machine runs the model families, in tables and bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Force, Output, Quiet

if TYPE_CHECKING:
    from mmprof.tracer.characterize import Study
    from mmprof.tracer.characterize_results import Characterization
    from mmprof.tracer.order import Wish
    from mmprof.tracer.workload import Family


FamilyNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FAMILY", help="Families of `mmprof workloads`; default: all.", show_default=False
    ),
]
Size = Annotated[str, typer.Option(help="tiny, small or full.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
TorchDevice = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or xpu.")]
Attention = Annotated[str, typer.Option(help="eager or sdpa.")]
OutputLength = Annotated[
    int, typer.Option(min=0, help="Tokens or steps to generate.", show_default=False)
]
Axes = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="AXIS",
        help="Vary length (of the input), output (length of it) or batch too. May be repeated.",
        show_default=False,
    ),
]
Recordings = Annotated[int, typer.Option(min=1, help="Traces of each task, for the ranges.")]
Repeats = Annotated[int, typer.Option(min=1, help="Timed runs without the profiler.")]
Steps = Annotated[
    int, typer.Option(min=0, help="Record only the first decode steps.", show_default=False)
]
CharacterizationFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json or markdown; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]
Traces = Annotated[
    str,
    typer.Option(
        metavar="DIR", help="Keep the traces in this folder, with sidecars.", show_default=False
    ),
]


@app.command()
def characterize(  # noqa: PLR0913  (the options of the command line)
    family: FamilyNames = None,
    *,
    size: Size = "tiny",
    device: TorchDevice = "auto",
    dtype: Dtype = "float32",
    attention: Attention = "eager",
    output_length: OutputLength = 0,
    sweep: Axes = None,
    recordings: Recordings = 3,
    repeats: Repeats = 6,
    steps: Steps = 0,
    traces: Traces = "",
    format_name: CharacterizationFormat = "",
    output: Output = "",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """How this machine runs the model families."""
    from mmprof.cli.formats import format_of, render_options  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.renderers.characterization import RENDERERS  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415
    from mmprof.tracer.characterize import Study  # noqa: PLC0415
    from mmprof.tracer.order import Limits, Wish  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    chosen = format_of(format_name, output, RENDERERS)
    wish = Wish(size=size, dtype=dtype, attention=attention, output_length=output_length)
    study = Study(
        _families(family or (), wish),
        wish=wish,
        device="" if device == "auto" else device,
        recordings=recordings,
        limits=Limits(repeats=repeats, steps=steps),
        axes=_axes(sweep or ()),
        force=force,
    )
    check_torch("characterizing")
    quiet_libraries()
    found = _measured(study, traces, quiet=quiet)
    destination.write(RENDERERS[chosen](found, render_options(destination)))


def _measured(study: Study, traces: str, *, quiet: bool) -> Characterization:
    from dataclasses import replace  # noqa: PLC0415

    from mmprof.cli.kept_folder import kept_folder  # noqa: PLC0415
    from mmprof.cli.status import status  # noqa: PLC0415
    from mmprof.tracer.characterize import characterize as measure  # noqa: PLC0415

    with kept_folder(traces) as folder, status(quiet=quiet) as progress:
        return measure(replace(study, folder=folder, progress=progress))


def _families(names: Sequence[str], wish: Wish) -> list[Family]:
    """The families of some names, or all; what is asked of them is checked before torch is loaded."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.tracer.families import families, for_one_of, request_for  # noqa: PLC0415

    known = families()
    chosen = [
        choose(name, known, what="the family", code="MM-E053", otherwise="`mmprof workloads`")
        for name in names
    ]
    found = [known[name] for name in dict.fromkeys(chosen or known)]
    for family in found:
        request_for(family, for_one_of(family, wish), "")
    return found


def _axes(words: Sequence[str]) -> list[str]:
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.tracer.characterize import AXES  # noqa: PLC0415

    return list(dict.fromkeys(choose(word, AXES, what="the sweep") for word in words))
