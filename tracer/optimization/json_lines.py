"""Files of JSON lines that are added to while a process may be killed.

A record is written by one call at the end of the file and is on the disk before its maker goes on. What a killed process
left half written is a line that is no JSON; it is passed over, and the next record begins on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.files import unwritable

R = TypeVar("R")


def append_record(path: Path, record: msgspec.Struct) -> None:
    """Add a record to a file, which need not exist yet; it is on the disk when this returns.

    Raises:
        MmprofError: The file cannot be written.
    """
    line = msgspec.json.encode(record) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, line)
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


def read_records(path: Path, decoder: msgspec.json.Decoder[R]) -> list[R]:
    """The records of a file, the oldest first; none where there is no file.

    Raises:
        MmprofError: It is there and cannot be read.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        found = error.strerror or str(error)
        raise MmprofError("MM-E001", f"cannot read {path}", found=found) from error
    return list(_records(data, decoder))


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" + line if torn else line)
        os.fsync(file.fileno())


def _records(data: bytes, decoder: msgspec.json.Decoder[R]) -> Iterator[R]:
    for line in data.split(b"\n"):
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError:  # empty, half a line, or a record of another version
            continue
