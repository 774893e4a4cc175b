"""`mmprof optimize`: find the levers that make a model faster together, and prove it."""

from __future__ import annotations

from pathlib import Path
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
from mmprof.cli.verbs.verify import (
    MaxTime,
    Precision,
    Target,
    Threads,
    TimeLimit,
    VerificationFormat,
    share_of_text,
)

if TYPE_CHECKING:
    from mmprof.tracer.optimization.optimize import Order
    from mmprof.tracer.verify_results import Verification

TOO_SLOW: Final = 1

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600}

Store = Annotated[
    str, typer.Option("--store", metavar="FOLDER", help="Where measurements are kept.")
]
Candidates = Annotated[
    list[str] | None,
    typer.Option(
        "--lever",
        "-l",
        metavar="LEVER",
        help="Only this lever of `mmprof levers`, or module:NAME. May be repeated; default: all.",
        show_default=False,
    ),
]
Budget = Annotated[
    str, typer.Option(metavar="TIME", help="Time that all of it may take: 90s, 5m, 1h.")
]
ExactOnly = Annotated[
    bool, typer.Option("--exact-only", help="Only levers whose outputs are equal up to rounding.")
]
QualityBudget = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Largest relative error of lossy levers together; default: what each declares.",
        show_default=False,
    ),
]
Emit = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="Write a program that applies what was found.", show_default=False
    ),
]
FailUnder = Annotated[
    float,
    typer.Option(
        min=0, metavar="SPEEDUP", help="Exit with 1 below this speedup.", show_default=False
    ),
]


@app.command()
def optimize(  # noqa: PLR0913  (the options of the command line)
    target: Target = None,
    *,
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
    lever: Candidates = None,
    budget: Budget = "5m",
    exact_only: ExactOnly = False,
    quality_budget: QualityBudget = "",
    precision: Precision = "2%",
    max_time: MaxTime = 8,
    time_limit: TimeLimit = 600,
    threads: Threads = 1,
    store: Store = ".mmprof/runs",
    emit: Emit = "",
    fail_under: FailUnder = 0,
    format_name: VerificationFormat = "",
    output: Output = "",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Find the levers that make a model faster together."""
    from mmprof.cli.formats import format_of, render_options  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.renderers.optimization import RENDERERS  # noqa: PLC0415
    from mmprof.cli.subjects import subject_of, with_model  # noqa: PLC0415
    from mmprof.tracer.lever_registry import levers, levers_by_word  # noqa: PLC0415
    from mmprof.tracer.optimization.optimize import Order  # noqa: PLC0415
    from mmprof.tracer.order import Wish  # noqa: PLC0415
    from mmprof.tracer.verify_sides import Effort  # noqa: PLC0415

    destination, program = Destination(output, force), Destination(emit, force)
    destination.check()
    program.check()
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
    order = Order(
        subject=subject_of(words, hf, wish, device=device, verb="optimize"),
        levers=levers_by_word(lever) if lever else levers(),
        effort=Effort(share_of_text(precision, "--precision"), max_time, time_limit, threads, seed),
        budget_s=seconds_of(budget),
        exact_only=exact_only,
        quality_budget=_share_or_none(quality_budget),
        store=Path(store),
    )
    found = _optimized(order, quiet=quiet)
    destination.write(RENDERERS[chosen](found, render_options(destination)))
    if program.is_file:
        program.write(_program(order, found))
    if _speedup(found) < fail_under:
        raise typer.Exit(TOO_SLOW)


def seconds_of(text: str) -> float:
    """`90s`, `5m` or `1h` in seconds; a number alone is seconds.

    Raises:
        MmprofError: It is none of them, or not above 0.
    """
    word = text.strip()
    unit = word[-1:] if word[-1:] in _UNITS_S else ""
    try:
        value = float(word.removesuffix(unit)) * _UNITS_S.get(unit, 1)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise MmprofError("MM-E052", "--budget takes a time", found=text, hint="90s, 5m or 1h")
    return value


def _share_or_none(text: str) -> float | None:
    return share_of_text(text, "--quality-budget") if text else None


def _optimized(order: Order, *, quiet: bool) -> Verification:
    from dataclasses import replace  # noqa: PLC0415

    from mmprof.cli.output import make_folder, say  # noqa: PLC0415
    from mmprof.cli.status import status  # noqa: PLC0415
    from mmprof.cli.termination import terminated_like_interrupted  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415
    from mmprof.tracer.optimization.optimize import optimize as search  # noqa: PLC0415

    check_torch("optimizing")
    make_folder(order.store)  # it must be there before minutes are spent on what is kept in it
    quiet_libraries()
    try:
        with terminated_like_interrupted(), status(quiet=quiet) as progress:
            return search(replace(order, progress=progress))
    except KeyboardInterrupt:
        say(f"stopped; what was measured is kept in {order.store}: the same command goes on")
        raise


def _program(order: Order, found: Verification) -> str:
    from mmprof.cli.renderers.optimization.program import program  # noqa: PLC0415

    names = {lever.id: name for name, lever in order.levers.items()}
    return program(order.subject, found, names)


def _speedup(found: Verification) -> float:
    """What was verified; 1 where nothing was."""
    top = found.ladder[-1].speedup if found.ladder else None
    return 1.0 if top is None else top
