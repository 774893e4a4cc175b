"""The application that verbs add themselves to, and the options before a verb."""

from __future__ import annotations

from typing import Annotated

import typer

# Without markup Typer renders help by itself: rich alone would take half of the time that help may take.
app = typer.Typer(
    name="mmprof",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from mmprof import __version__  # noqa: PLC0415  (reads the installed metadata)

        typer.echo(f"mmprof {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
    debug: Annotated[  # noqa: ARG001  (taken out of the arguments by `main`, so that it works after a verb as well)
        bool,
        typer.Option("--debug", help="Show the traceback of an error; works after a command too."),
    ] = False,
) -> None:
    """Explain, predict and prove: why a PyTorch model is slow, from its profiler trace.

    Begin with: mmprof analyze TRACE
    """
    _print_version(wanted=version)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
