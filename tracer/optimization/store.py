"""Where searches keep what they found: one file of JSON lines for each workload, machine, set of versions and code.

A record is written by one call at the end of the file and is on the disk before the search goes on. What a killed process
left half written is a line that is no JSON; it is passed over, and the next record begins on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.files import unwritable
from mmprof.tracer.optimization.records import Record

DEFAULT: Final = Path(".mmprof/runs")
"""Below the working directory."""

KEEPS: Final = 1
"""Version of what the records mean; those of another one are not reused."""

_SUFFIX: Final = ".jsonl"
_RECORDS: Final = msgspec.json.Decoder(Record)

R = TypeVar("R")


@dataclass(slots=True)
class Run:
    """What one file keeps.

    Attributes:
        path: The file; it need not exist yet.
        records: What it holds, and what was added since.
    """

    path: Path
    records: list[Record] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.path.name.removesuffix(_SUFFIX)

    @property
    def trace(self) -> Path:
        """Where the trace of the baseline lies."""
        return self.path.with_name(f"{self.name}.trace.json.gz")

    def of(self, kind: type[R]) -> list[R]:
        """The records of a kind, in the order in which they were made."""
        return [record for record in self.records if isinstance(record, kind)]

    def append(self, record: Record) -> None:
        """Add a record; it is on the disk when this returns.

        Raises:
            MmprofError: The file cannot be written.
        """
        line = msgspec.json.encode(record) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, line)
        except OSError as error:
            raise unwritable(self.path, error.strerror or str(error)) from error
        self.records.append(record)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" + line if torn else line)
        os.fsync(file.fileno())


def open_run(folder: Path, name: str) -> Run:
    """The run of a name, with what it has so far.

    Raises:
        MmprofError: Its file is there and cannot be read.
    """
    path = folder / f"{name}{_SUFFIX}"
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise _unreadable(path, error) from error
    return Run(path, list(_records(data)))


def _records(data: bytes) -> Iterator[Record]:
    for line in data.split(b"\n"):
        try:
            yield _RECORDS.decode(line)
        except (
            msgspec.MsgspecError
        ):  # half a line of a killed process, or a record of another version
            continue


def runs_in(folder: Path) -> list[Run]:
    """The runs that a folder keeps, the last changed one first.

    Raises:
        MmprofError: One of them cannot be read.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: -path.stat().st_mtime_ns)
    return [open_run(folder, path.name.removesuffix(_SUFFIX)) for path in paths]


def _unreadable(path: Path, error: OSError) -> MmprofError:
    return MmprofError("MM-E001", f"cannot read {path}", found=error.strerror or str(error))
