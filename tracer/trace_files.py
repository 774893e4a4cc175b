"""The file of a trace: its name, and writing it whole, compressed, beside the others of its run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.files import check_writable, replacing
from mmprof.analyzers.sidecar import sidecar_path

SUFFIXES: Final = (".json.gz", ".json.zst", ".json")
_CHUNK_BYTES: Final = 1 << 20
_END_BYTES: Final = 8192
_EVENT: Final = b'"ph": "X"'


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace that was written.

    Attributes:
        path: Where it is.
        bytes: Its size.
        events: Complete events in it.
    """

    path: Path
    bytes: int
    events: int


def rank_of_process() -> int | None:
    """The rank of this process; None outside distributed runs."""
    # torch is not imported for this: a script may want to set its environment first.
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdigit() else None


def named_by_rank(path: Path) -> Path:
    """`t.json.gz` as `t.rank3.json.gz` in the process of rank 3; the same outside distributed runs."""
    rank = rank_of_process()
    suffix = trace_suffix(path)
    return (
        path if rank is None else path.with_name(f"{path.name[: -len(suffix)]}.rank{rank}{suffix}")
    )


def trace_suffix(path: Path) -> str:
    """The suffix of a trace's name.

    Raises:
        MmprofError: The name is not that of a trace.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise MmprofError(
        "MM-E056", f"{path} is no name for a trace", found=path.suffix, hint=f"{path.stem}.json.gz"
    )


def check_trace_path(path: Path, *, force: bool) -> None:
    """Check that a trace and its sidecar may be written.

    Raises:
        MmprofError: The name is not that of a trace, one of them exists, or they cannot be written.
    """
    trace_suffix(path)
    check_writable(path, force=force)
    check_writable(sidecar_path(path), force=force)


def write_trace(path: Path, export: Callable[[str], object], *, force: bool) -> TraceFile:
    """Write what the profiler recorded; the suffix says how it is compressed.

    Args:
        path: `.json`, `.json.gz` or `.json.zst`.
        export: Writes the trace as plain JSON to a path.
        force: Whether to replace an existing file.

    Raises:
        MmprofError: The file exists or cannot be written.
    """
    plain = path.with_name(f".mmprof.{os.getpid()}.json")  # Kineto cannot take every name
    try:
        with replacing(path, force=force) as temporary:
            export(str(plain))
            _rename_inside(plain, path)
            events = _copied(plain, temporary, trace_suffix(path))
    finally:
        plain.unlink(missing_ok=True)
    return TraceFile(path, path.stat().st_size, events)


def _rename_inside(plain: Path, path: Path) -> None:
    """Kineto writes the path that it was given at the end of the file: make it the one that stays."""
    with plain.open("r+b") as file:
        file.seek(max(0, plain.stat().st_size - _END_BYTES))
        start, end = file.tell(), file.read()
        file.seek(start)
        file.write(end.replace(str(plain).encode(), json.dumps(str(path))[1:-1].encode()))
        file.truncate()


def _copied(plain: Path, target: Path, suffix: str) -> int:
    """Copy a trace, compressed as the suffix says, and count its events."""
    with plain.open("rb") as source, _compressed(target, suffix) as sink:
        counting = _CountingReader(source)
        shutil.copyfileobj(cast("IO[bytes]", counting), sink, _CHUNK_BYTES)
    return counting.events


class _CountingReader:
    """Reads a file and counts complete events, also where one lies across two reads."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._tail = b""
        self.events = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self._source.read(size)
        seen = self._tail + chunk
        self.events += seen.count(_EVENT)
        self._tail = seen[-(len(_EVENT) - 1) :]
        return chunk


def _compressed(path: Path, suffix: str) -> IO[bytes]:
    if suffix == ".json.gz":
        from isal import igzip  # noqa: PLC0415

        return cast("Callable[..., IO[bytes]]", igzip.IGzipFile)(str(path), "wb")
    if suffix == ".json.zst":
        import zstandard  # noqa: PLC0415

        return cast("IO[bytes]", zstandard.open(path, "wb"))
    return path.open("wb")
