"""Entry point: runs a verb, and turns whatever goes wrong into a few lines and an exit code.

Exit codes: 0 done; 1 done, and a threshold that was asked for is crossed; 2 wrong use or unreadable input; 130
interrupted.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TextIO, cast

import typer
import typer.main
from typer.models import CommandInfo

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.verbs import load_verbs

FAILED: Final = 2
INTERRUPTED: Final = 130

# The base of all errors in the use of the command line, which has what a BadParameter has. Typer gives it no public name,
# and its module is not the same in all versions.
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None for those of the process.
    """
    # What a command makes, it keeps until its end: looking for garbage finds none.
    gc.set_threshold(100_000)
    # The allocator inside polars keeps what was freed for ten seconds; a fifth of a second lowers the peak by a fifth. With one
    # arena a thread takes the pages that another has freed, and the kernel need not hand out a third of them anew.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:200,muzzy_decay_ms:0")
    arguments, debug = _without_debug(sys.argv[1:] if argv is None else argv)
    _take_any_text(sys.stdout)
    try:
        return _run(arguments)
    except MmprofError as error:
        if debug:
            raise
        _report(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        # The last resort: a defect of mmprof, too, has to end in a few lines and an exit code.
        if debug:
            raise
        _report(_internal(error), arguments)
    return FAILED


def run() -> None:
    """Run the command line of this process, and end it."""
    code = main()
    if "torch" in sys.modules:  # which has processes and threads of its own to end
        sys.exit(code)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or FAILED
    # Without freeing, object by object, what ends with the process anyway: a tenth of a second.
    os._exit(code)


def _report(error: MmprofError, arguments: Sequence[str]) -> None:
    from mmprof.cli.output import report_error  # noqa: PLC0415  (what `--help` does not need)

    report_error(error, as_json=_asks_for_json(arguments))


def _run(arguments: Sequence[str]) -> int:
    load_verbs(arguments[0] if arguments else "")
    app.registered_commands.sort(key=_verb)  # for one process that runs several verbs
    command = typer.main.get_command(app)
    try:
        code: object = command.main(args=list(arguments), prog_name="mmprof", standalone_mode=False)
    except _UsageError as error:
        raise _usage(error) from error
    return code if isinstance(code, int) else 0


def _verb(command: CommandInfo) -> str:
    return command.callback.__name__ if command.callback else ""


def _usage(error: typer.BadParameter) -> MmprofError:
    """The error for arguments that Typer refused."""
    command = error.ctx.command_path if error.ctx else "mmprof"
    return MmprofError("MM-E029", error.format_message(), hint=f"{command} --help")


def _internal(error: Exception) -> MmprofError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        found = error.strerror or ""
        return MmprofError(
            "MM-E031", "cannot write the output", found=found, hint="another place for it"
        )
    where = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return MmprofError(
        "MM-E099",
        "internal error: this is a defect of mmprof",
        found=where,
        hint="run it again with --debug and report the traceback",
    )


def _without_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, which may stand before or after the verb, and whether it was there."""
    end = argv.index("--") if "--" in argv else len(argv)
    kept = [argument for argument in argv[:end] if argument != "--debug"]
    return [*kept, *argv[end:]], len(kept) < end


def _take_any_text(stream: TextIO) -> None:
    """Write characters that the stream's encoding lacks as escapes: a name in a trace must not stop the output."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _asks_for_json(argv: Sequence[str]) -> bool:
    """Whether errors are to be JSON; read here because arguments that Typer refuses are never parsed."""
    joined = {"--format=json", "-fjson"}
    argv = argv[: argv.index("--")] if "--" in argv else argv  # what follows are a script's
    pairs = pairwise(argv)
    return not joined.isdisjoint(argv) or any(
        p in {("--format", "json"), ("-f", "json")} for p in pairs
    )
