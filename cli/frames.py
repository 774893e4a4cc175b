"""Polars tables as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from mmprof.analyzers.choices import choose
from mmprof.analyzers.files import replacing

# What spreadsheets take for a formula at the start of a cell.
_FORMULA: Final = r"^\s*[=+\-@]"


def check_suffix(path: Path) -> str:
    """The suffix of a path, if tables can be written to such a file.

    Raises:
        MmprofError: They cannot.
    """
    return choose(path.suffix, _WRITERS, what="a format for the suffix")


def write_frame(frame: pl.DataFrame, path: Path, *, force: bool) -> None:
    """Write a table to a .parquet, .arrow or .csv file.

    Raises:
        MmprofError: The suffix is another, the file exists and must not be replaced, or it cannot be written.
    """
    write = _WRITERS[check_suffix(path)]
    with replacing(path, force=force) as temporary:
        write(frame, temporary)


def _parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)


def _arrow(frame: pl.DataFrame, path: Path) -> None:
    frame.write_ipc(path)


def _csv(frame: pl.DataFrame, path: Path) -> None:
    """CSV is opened in spreadsheets: a name that would be a formula there gets an apostrophe."""
    text = pl.col(pl.String)
    harmless = pl.when(text.str.contains(_FORMULA)).then("'" + text).otherwise(text)
    frame.with_columns(harmless.name.keep()).write_csv(path)


_WRITERS: Final[Mapping[str, Callable[[pl.DataFrame, Path], None]]] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".csv": _csv,
}
FRAME_SUFFIXES: Final = tuple(_WRITERS)
"""Suffixes of files that tables can be written to."""
