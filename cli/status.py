"""What long work is doing, on standard error while somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from mmprof.cli.renderers.safe import printable


@contextmanager
def status(*, quiet: bool) -> Generator[Callable[[str], None], None, None]:
    """Show what is being done; nothing is left on the screen.

    Args:
        quiet: Show nothing.

    Yields:
        A function that takes what begins now.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  (60 ms that only long work should cost)

    with Console(stderr=True).status("", spinner_style="cyan") as shown:
        yield lambda text: shown.update(printable(text))
