"""Where text goes: results to standard output or a file, everything else to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.files import check_writable, replacing, unwritable
from mmprof.cli.renderers.safe import printable

_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a result goes.

    Attributes:
        path: A file; empty or `-` for standard output.
        force: Whether an existing file may be replaced.
    """

    path: str = ""
    force: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the result goes to a file."""
        return self.path not in {"", "-"}

    @property
    def color(self) -> bool:
        """Whether the result may have colours."""
        return not self.is_file and wants_color(sys.stdout)

    @property
    def width(self) -> int | None:
        """Columns of the screen that shows the result; None where it is no screen."""
        return None if self.is_file else screen_width()

    def check(self) -> None:
        """Check, before any work is done, that the result can be written.

        Raises:
            MmprofError: The file exists, or its folder does not.
        """
        if self.is_file:
            check_writable(Path(self.path), force=self.force)

    def write(self, text: str) -> None:
        """Write the result.

        Raises:
            MmprofError: The file cannot be written.
        """
        if not self.is_file:
            print_result(text)
            return
        with replacing(Path(self.path), force=self.force) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where it is not there yet.

    Raises:
        MmprofError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


def print_result(text: str) -> None:
    """Write to standard output. A reader that has had enough (`| head`) is no error."""
    _write(sys.stdout, text)


def report_error(error: MmprofError, *, as_json: bool) -> None:
    """Show an error: two or three lines on standard error, or its JSON document on standard output."""
    if as_json:
        import msgspec  # noqa: PLC0415  (50 ms that only this case should cost)

        from mmprof.analyzers.contract import error_document  # noqa: PLC0415

        print_result(
            msgspec.json.format(msgspec.json.encode(error_document(error))).decode() + "\n"
        )
        return
    red, plain = (_RED, _PLAIN) if wants_color(sys.stderr) else ("", "")
    lines = [f"{red}error[{error.code}]{plain}: {printable(error.message)}"]
    lines += [
        f"{name}: {printable(text)}"
        for name, text in (("found", error.found), ("try", error.hint))
        if text
    ]
    say("\n".join(lines))


def say(text: str) -> None:
    """Write a line to standard error. It must not change an exit code that nobody reads it (`2>&1 | head`)."""
    _write(sys.stderr, f"{text}\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def wants_color(stream: TextIO) -> bool:
    """Whether a stream may have colours: https://no-color.org and FORCE_COLOR, else whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (
        stream.isatty() and os.environ.get("TERM") != "dumb"
    )


def screen_width() -> int | None:
    """Columns of the terminal behind standard output, or of COLUMNS; None where there is none."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return None
    return shutil.get_terminal_size().columns
