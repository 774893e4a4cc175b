"""Where searches keep what they found: one file of JSON lines for each workload, machine, set of versions and code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from mmprof.tracer.optimization.json_lines import append_record, read_records
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
        append_record(self.path, record)
        self.records.append(record)


def open_run(folder: Path, name: str) -> Run:
    """The run of a name, with what it has so far.

    Raises:
        MmprofError: Its file is there and cannot be read.
    """
    path = folder / f"{name}{_SUFFIX}"
    return Run(path, read_records(path, _RECORDS))


def runs_in(folder: Path) -> list[Run]:
    """The runs that a folder keeps, the last changed one first.

    Raises:
        MmprofError: One of them cannot be read.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: -path.stat().st_mtime_ns)
    return [open_run(folder, path.name.removesuffix(_SUFFIX)) for path in paths]
