"""A trace as a file: JSON, plain or compressed by the suffix of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Final, Protocol, cast

from mmprof.analyzers.files import replacing

VIEWER: Final = "https://ui.perfetto.dev"

# Faster than gzip -1, and nearly as small as gzip -6.
_GZIP_LEVEL: Final = 2
_ZSTD_LEVEL: Final = 3


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


def trace_suffix(path: Path) -> str:
    """The suffix of a path that a trace can be written to; empty for any other path."""
    name = path.name.lower()
    return next((suffix for suffix in TRACE_WRITERS if name.endswith(suffix)), "")


def write_trace(chunks: Iterable[bytes], path: Path, *, force: bool) -> None:
    """Write a document to a .json, .json.gz or .json.zst file, whole or not at all.

    Raises:
        MmprofError: The file exists and must not be replaced, or it cannot be written.
    """
    opened = TRACE_WRITERS[trace_suffix(path)]
    with (
        replacing(path, force=force) as temporary,
        temporary.open("wb") as file,
        opened(file) as out,
    ):
        for chunk in chunks:
            out.write(chunk)


def _plain(file: IO[bytes]) -> AbstractContextManager[_Writer]:
    return file


def _gzip(file: IO[bytes]) -> AbstractContextManager[_Writer]:
    from isal import igzip  # noqa: PLC0415

    # its stub has no types
    opened = cast("Callable[..., AbstractContextManager[_Writer]]", igzip.GzipFile)
    return opened("", "wb", _GZIP_LEVEL, file, mtime=0)


def _zstd(file: IO[bytes]) -> AbstractContextManager[_Writer]:
    import zstandard  # noqa: PLC0415  (20 ms that only a zstd file should pay)

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False)


TRACE_WRITERS: Final[Mapping[str, Callable[[IO[bytes]], AbstractContextManager[_Writer]]]] = {
    ".json": _plain,
    ".json.gz": _gzip,
    ".json.zst": _zstd,
}
