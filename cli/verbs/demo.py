"""`mmprof demo`: a first look in under a minute: a tiny model is traced and analyzed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Force, Quiet

if TYPE_CHECKING:
    from mmprof.tracer.record import Recording

FAMILY: Final = "llama"
NAME: Final = "demo.json.gz"
TOKENS: Final = 6
EXAMPLE: Final = "mmprof analyze fixtures/llama-decode-h100-synthetic.json.gz"

Keep = Annotated[
    str, typer.Option(metavar="DIR", help="Keep the trace in this folder.", show_default=False)
]


@app.command()
def demo(*, keep: Keep = "", force: Force = False, quiet: Quiet = False) -> None:
    """Trace a tiny model and say why it is slow, as a first look."""
    from mmprof.cli.kept_folder import kept_folder  # noqa: PLC0415
    from mmprof.cli.output import print_result  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415

    with kept_folder(keep) as folder:
        path = folder / NAME
        _check(path, force=force)
        check_torch("the demo", otherwise=EXAMPLE)
        quiet_libraries()
        recording = _recorded(path, force=force, quiet=quiet)
        print_result("\n".join([*_shown(recording, path), *_next(path if keep else None), ""]))


def _check(path: Path, *, force: bool) -> None:
    from mmprof.tracer.trace_files import check_trace_path  # noqa: PLC0415

    check_trace_path(path, force=force)


def _recorded(path: Path, *, force: bool, quiet: bool) -> Recording:
    """A recording of a tiny model that generates a few tokens.

    Raises:
        MmprofError: It cannot run here.
    """
    from mmprof.cli.status import status  # noqa: PLC0415
    from mmprof.tracer.families import families  # noqa: PLC0415
    from mmprof.tracer.order import Limits, Manner, Subject, Wish  # noqa: PLC0415

    subject = Subject(family=families()[FAMILY], wish=Wish(output_length=TOKENS))
    with status(quiet=quiet) as progress:
        progress("importing torch")
        import torch  # noqa: PLC0415  (seconds)

        from mmprof.tracer.tracing import error_of, trace_workload  # noqa: PLC0415

        # A tiny product on two threads waits for the slower one, which on a busy machine is a time slice away.
        torch.set_num_threads(1)
        manner = Manner(ceilings=False, force=force, limits=Limits(repeats=3), progress=progress)
        recording = trace_workload(subject, path, manner)
    if recording.error is not None:
        raise error_of(recording.error) from recording.error
    return recording


def _shown(recording: Recording, path: Path) -> list[str]:
    """What was recorded, and the overview of `mmprof analyze` without its commands for a trace that goes away."""
    from mmprof.analyzers.analyze import analyze  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.recording import described  # noqa: PLC0415
    from mmprof.cli.renderers import RenderOptions  # noqa: PLC0415
    from mmprof.cli.renderers.safe import printable  # noqa: PLC0415
    from mmprof.cli.renderers.screen.canvas import Canvas  # noqa: PLC0415
    from mmprof.cli.renderers.screen.overview import overview  # noqa: PLC0415

    destination = Destination()
    options = RenderOptions(width=destination.width, color=destination.color)
    canvas = Canvas.of(options).narrowed()
    *sections, _ = overview(analyze([str(path)]), canvas, options.top)
    facts = [printable(line) for line in described(recording.sidecar)]
    return [*facts, "", canvas.draw(sections).rstrip("\n"), ""]


def _next(kept: Path | None) -> list[str]:
    """What to run next."""
    on_it = (
        [(f"mmprof analyze {shlex.quote(str(kept))} --by module", "the same trace, by module")]
        if kept
        else [("mmprof demo --keep DIR", "the same, with the trace kept")]
    )
    commands = [
        *on_it,
        ("mmprof trace my_module:my_function", "a trace of your own model"),
        ("mmprof analyze YOUR_TRACE", "any trace of torch.profiler; needs no torch"),
        ("mmprof characterize", "all model families on this machine"),
    ]
    width = max(len(command) for command, _ in commands)
    return ["Next:", *(f"  {command:<{width}}  {what}" for command, what in commands)]
