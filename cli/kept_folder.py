"""A folder for files that the user may want to keep."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mmprof.cli.output import make_folder


@contextmanager
def kept_folder(name: str) -> Generator[Path, None, None]:
    """The folder of a name, made where it is not there; without a name one that goes away with the block.

    Raises:
        MmprofError: It cannot be made.
    """
    if name:
        make_folder(Path(name))
        yield Path(name)
        return
    with TemporaryDirectory(prefix="mmprof-") as temporary:
        yield Path(temporary)
