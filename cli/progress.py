"""A sign of life on standard error while long work goes on."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mmprof.cli.renderers.safe import printable
from mmprof.cli.renderers.units import bytes_

LONG_FROM_BYTES: Final = 4 << 20


@contextmanager
def progress(verb: str, paths: Sequence[str], *, quiet: bool) -> Generator[None, None, None]:
    """Show what is being done, if it takes long and somebody watches; nothing is left on the screen.

    Args:
        verb: What is being done, as in `analyzing`.
        paths: Its inputs, whose size tells how long it takes.
        quiet: Show nothing.
    """
    size = sum(_size(Path(path)) for path in paths)
    if quiet or size < LONG_FROM_BYTES or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415  (60 ms that only long work should cost)

    name = printable(paths[0]) if len(paths) == 1 else f"{len(paths)} inputs"
    with Console(stderr=True).status(f"{verb} {name} ({bytes_(size)})", spinner_style="cyan"):
        yield


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(_size(inner) for inner in path.iterdir())
    return path.stat().st_size if path.is_file() else 0
