"""`mmprof verify`: apply levers to a workload, and prove what they gain and keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.options import Force, Output, Quiet
from mmprof.cli.verbs.trace import (
    Attention,
    Batch,
    Dtype,
    Folder,
    InputLength,
    Model,
    OutputLength,
    Seed,
    Settings,
    Size,
    Task,
    TorchDevice,
)

if TYPE_CHECKING:
    from mmprof.tracer.verify import Trials
    from mmprof.tracer.verify_results import Verification

UNVERIFIED: Final = 1

Target = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="A family of `mmprof workloads`, or module:function.",
        show_default=False,
    ),
]
LeverNames = Annotated[
    list[str] | None,
    typer.Option(
        "--lever",
        "-l",
        metavar="LEVER",
        help="A lever of `mmprof levers`, module:NAME, or none. May be repeated: then cumulated, too.",
        show_default=False,
    ),
]
Precision = Annotated[
    str, typer.Option(metavar="SHARE", help="Measure until a speedup is known so well.")
]
MaxTime = Annotated[float, typer.Option(min=0, help="Seconds of measuring a comparison, about.")]
TimeLimit = Annotated[
    float, typer.Option(min=1, help="Seconds for building, compiling or a request.")
]
Threads = Annotated[int, typer.Option(min=0, help="Threads of an operator; 0 for torch's own.")]
VerificationFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json or markdown; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]
FailOnUnverified = Annotated[
    bool, typer.Option("--fail-on-unverified", help="Exit with 1 unless all are verified.")
]


@app.command()
def verify(  # noqa: PLR0913  (the options of the command line)
    target: Target = None,
    *,
    lever: LeverNames = None,
    hf: Folder = "",
    model: Model = "",
    task: Task = "",
    size: Size = "",
    dtype: Dtype = "",
    device: TorchDevice = "",
    batch: Batch = 0,
    input_length: InputLength = 0,
    output_length: OutputLength = 0,
    attention: Attention = "",
    settings: Settings = None,
    seed: Seed = 0,
    precision: Precision = "2%",
    max_time: MaxTime = 30,
    time_limit: TimeLimit = 600,
    threads: Threads = 1,
    fail_on_unverified: FailOnUnverified = False,
    format_name: VerificationFormat = "",
    output: Output = "",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Apply levers to a model and prove what they gain and keep."""
    from mmprof.cli.formats import format_of, render_options  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.renderers.verification import RENDERERS  # noqa: PLC0415
    from mmprof.cli.subjects import subject_of, with_model  # noqa: PLC0415
    from mmprof.tracer.lever_registry import levers_by_word  # noqa: PLC0415
    from mmprof.tracer.order import Wish  # noqa: PLC0415
    from mmprof.tracer.verify import Trials  # noqa: PLC0415
    from mmprof.tracer.verify_sides import Effort  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    chosen = format_of(format_name, output, RENDERERS)
    words, given = with_model(target or [], settings or (), model, size=size)
    wish = Wish(
        task=task,
        size=size,
        dtype=dtype,
        batch=batch,
        seed=seed,
        input_length=input_length,
        output_length=output_length,
        attention=attention,
        settings=given,
    )
    trials = Trials(
        subject_of(words, hf, wish, device=device, verb="verify"),
        levers_by_word(lever or ["none"]),
        Effort(share_of_text(precision, "--precision"), max_time, time_limit, threads, seed),
    )
    found = _verified(trials, quiet=quiet)
    destination.write(RENDERERS[chosen](found, render_options(destination)))
    if fail_on_unverified and any(result.verdict != "verified" for result in found.levers):
        raise typer.Exit(UNVERIFIED)


def _verified(trials: Trials, *, quiet: bool) -> Verification:
    from dataclasses import replace  # noqa: PLC0415

    from mmprof.cli.status import status  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415
    from mmprof.tracer.verify import verify as try_out  # noqa: PLC0415

    check_torch("verifying")
    quiet_libraries()
    with status(quiet=quiet) as progress:
        return try_out(replace(trials, progress=progress))


def share_of_text(text: str, option: str) -> float:
    """`2%` or `0.02` as a share.

    Raises:
        MmprofError: It is neither, or not between 0 and 1.
    """
    number, percent = (text.strip().removesuffix("%"), text.strip().endswith("%"))
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise MmprofError("MM-E052", f"{option} takes a share", found=text, hint="2% or 0.02")
    return value
