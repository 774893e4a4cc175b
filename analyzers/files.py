"""Files that are written whole or not at all, and never over another one unless that was asked for."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mmprof.analyzers.errors import MmprofError


def check_writable(path: Path, *, force: bool) -> None:
    """Check that a file may be made at a path.

    Raises:
        MmprofError: It exists and must not be replaced, or it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise unwritable(path, "it exists and is no regular file")
    if path.exists() and not force:
        raise MmprofError(
            "MM-E030",
            f"{path} exists; it was not overwritten",
            found=f"{path.stat().st_size:,} bytes",
            hint="another name, or --force to replace it",
        )
    if not path.parent.is_dir():
        raise unwritable(path, f"the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise unwritable(path, f"the folder {path.parent} is not writable")


@contextmanager
def replacing(path: Path, *, force: bool) -> Generator[Path, None, None]:
    """A temporary path beside `path` that takes its place when the block is done: nobody sees half a file.

    Raises:
        MmprofError: The file exists or cannot be written.
    """
    check_writable(path, force=force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        check_writable(path, force=force)  # it may have appeared meanwhile
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, found: str) -> MmprofError:
    """The error of a path that cannot be written."""
    return MmprofError("MM-E031", f"cannot write {path}", found=found, hint="another path")
