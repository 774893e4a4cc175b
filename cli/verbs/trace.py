"""`mmprof trace`: run a model under torch.profiler, and write what analysis needs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.options import Force, Quiet

if TYPE_CHECKING:
    from mmprof.tracer.order import Manner, Subject, Wish

FORMATS: Final = ("terminal", "json")
INTERRUPTED: Final = 130

Target = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="A family of `mmprof workloads`, module:function, or -- python script.py ARGUMENTS.",
        show_default=False,
    ),
]
Folder = Annotated[
    str,
    typer.Option(
        "--hf", metavar="FOLDER", help="A transformers model on disk.", show_default=False
    ),
]
TraceOutput = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="A .json.gz, .json.zst or .json file; default: named after the target.",
        show_default=False,
    ),
]
Task = Annotated[str, typer.Option(help="A task; default: the family's first.", show_default=False)]
Size = Annotated[str, typer.Option(help="tiny, small or full; default: tiny.", show_default=False)]
Dtype = Annotated[
    str, typer.Option(help="float32, bfloat16 or float16; default: float32.", show_default=False)
]
TorchDevice = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or xpu; default: auto.", show_default=False)
]
Batch = Annotated[int, typer.Option(min=0, help="Requests that run together.", show_default=False)]
InputLength = Annotated[
    int, typer.Option(min=0, help="Tokens or frames of the input.", show_default=False)
]
OutputLength = Annotated[int, typer.Option(min=0, help="Tokens to generate.", show_default=False)]
Attention = Annotated[str, typer.Option(help="eager or sdpa.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the family, or an argument of the function. May be repeated.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Real weights: bytes or smollm2; short for llama --set model=NAME.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seeds weights and inputs.")]
Warmups = Annotated[int, typer.Option(min=0, help="Runs before anything is timed.")]
Repeats = Annotated[int, typer.Option(min=0, help="Timed runs without the profiler.")]
Steps = Annotated[
    int, typer.Option(min=0, help="Record only the first decode steps.", show_default=False)
]
MaxEvents = Annotated[
    int,
    typer.Option(min=0, help="Record about so many events at most.", show_default=False),
]
Stacks = Annotated[bool, typer.Option("--stacks", help="Record Python frames.")]
Memory = Annotated[bool, typer.Option("--memory", help="Record allocations.")]
Modules = Annotated[bool, typer.Option(help="Annotate modules with their paths.")]
Ceilings = Annotated[bool, typer.Option(help="Measure once what this machine reaches.")]
TraceFormat = Annotated[
    str, typer.Option("--format", "-f", metavar="FORMAT", help="terminal or json.")
]


@app.command()
def trace(  # noqa: PLR0913  (the options of the command line)
    target: Target = None,
    *,
    hf: Folder = "",
    model: Model = "",
    output: TraceOutput = "",
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
    warmups: Warmups = 1,
    repeats: Repeats = 6,
    steps: Steps = 0,
    max_events: MaxEvents = 0,
    stacks: Stacks = False,
    memory: Memory = False,
    modules: Modules = True,
    ceilings: Ceilings = True,
    format_name: TraceFormat = "terminal",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run a model under torch.profiler and write its trace."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.cli.subjects import subject_of, with_model  # noqa: PLC0415
    from mmprof.cli.termination import terminated_like_interrupted  # noqa: PLC0415
    from mmprof.tracer.order import Limits, Manner, Wish  # noqa: PLC0415
    from mmprof.tracer.script import is_command  # noqa: PLC0415

    words, given = with_model(target or [], settings or (), model, size=size)
    as_json = choose(format_name, FORMATS, what="the format") == "json"
    manner = Manner(
        stacks=stacks,
        memory=memory,
        modules=modules,
        ceilings=ceilings,
        force=force,
        limits=Limits(warmups, repeats, steps, max_events),
    )
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
    if not hf and is_command(words):
        _only_for_workloads(wish, device, manner)
        with terminated_like_interrupted():
            raise typer.Exit(_trace_program(words, output, manner))
    subject = subject_of(words, hf, wish, device=device, verb="trace")
    path = _path(output, subject, manner)
    with terminated_like_interrupted():
        _trace_workload(subject, path, manner, as_json=as_json, quiet=quiet)


def _path(output: str, subject: Subject, manner: Manner) -> Path:
    """Where the trace goes; checked before anything runs."""
    from mmprof.tracer.trace_files import check_trace_path, named_by_rank  # noqa: PLC0415

    path = named_by_rank(Path(output or f"{subject.name}.json.gz"))
    check_trace_path(path, force=manner.force)
    return path


def _trace_workload(
    subject: Subject, path: Path, manner: Manner, *, as_json: bool, quiet: bool
) -> None:
    from mmprof.cli.output import report_error  # noqa: PLC0415
    from mmprof.cli.recording import left_behind, report  # noqa: PLC0415
    from mmprof.cli.status import status  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415

    check_torch()
    quiet_libraries()
    with status(quiet=quiet) as progress:
        progress("importing torch")
        from mmprof.tracer.tracing import error_of, trace_workload  # noqa: PLC0415  (seconds)

        recording = trace_workload(subject, path, replace(manner, progress=progress))
    if recording.error is None:
        report(recording, as_json=as_json)
        return
    error = error_of(recording.error, *left_behind(recording))
    if not isinstance(recording.error, KeyboardInterrupt):
        raise error from recording.error
    report_error(error, as_json=as_json)
    raise typer.Exit(INTERRUPTED)


def _trace_program(words: Sequence[str], output: str, manner: Manner) -> int:
    """Trace a program; its exit code."""
    from mmprof.cli.recording import say_written  # noqa: PLC0415
    from mmprof.cli.torch_libraries import check_torch, quiet_libraries  # noqa: PLC0415
    from mmprof.tracer.script import parse_command, run_elsewhere, run_program  # noqa: PLC0415
    from mmprof.tracer.session import Session, Steps  # noqa: PLC0415
    from mmprof.tracer.trace_files import check_trace_path, named_by_rank  # noqa: PLC0415

    command = parse_command(words)
    path = Path(output or f"{Path(command.name).stem}.json.gz")
    check_trace_path(named_by_rank(path), force=manner.force)
    if command.python:
        return run_elsewhere(command, [f"--output={path}", *_as_options(manner)])
    check_torch()
    quiet_libraries()
    here = Path.cwd()  # the program may go to another folder
    session = Session(here / path, Steps(), manner, name=shlex.join(words))
    ending = run_program(command, session.start)
    session.finish(ending.error)
    if session.trace is None and ending.exit_code:
        return ending.exit_code  # it has said why it ended before there was anything to record
    say_written(session.trace, command.name, seen_from=here)
    return ending.exit_code


def _as_options(manner: Manner) -> list[str]:
    """The options that hold for programs, as the command line has them."""
    flags = {
        "--stacks": manner.stacks,
        "--memory": manner.memory,
        "--no-modules": not manner.modules,
        "--force": manner.force,
    }
    return [flag for flag, wanted in flags.items() if wanted]


def _only_for_workloads(wish: Wish, device: str, manner: Manner) -> None:
    """Refuse what has no effect on a program: an option that does nothing misleads."""
    from mmprof.tracer.order import Limits, Wish  # noqa: PLC0415

    given = [
        name
        for name, value in {**asdict(wish), "device": device}.items()
        if value not in {getattr(Wish(), name, ""), ()}
    ]
    given += [
        name for name, value in asdict(manner.limits).items() if value != getattr(Limits(), name)
    ]
    if given:
        option = "set" if given[0] == "settings" else given[0].replace("_", "-")
        raise MmprofError(
            "MM-E052",
            f"--{option} has no effect on a program",
            hint="leave it out, or give the program its own arguments after its name",
        )
