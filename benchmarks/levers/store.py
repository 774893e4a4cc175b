"""What was measured, one JSON record a line: each is on the disk before the next measurement begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from mmprof.analyzers.sidecar import Argument
from mmprof.tracer.optimization.json_lines import append_record, read_records
from mmprof.tracer.optimization.records import BaselineMeasured
from mmprof.tracer.verify_results import Clock, LeverResult, Predicted, Verification
from mmprof.tracer.verify_sides import Effort


class Case(Struct, frozen=True):
    """A run of a model family: a request, or several.

    Attributes:
        family: Its name.
        task: One of its tasks.
        size: One of its sizes.
        output_length: Tokens or steps to make; 0 for the family's own.
        requests: How many requests a run serves, where it serves several; else 0.
    """

    family: str
    task: str
    size: str
    output_length: int = 0
    requests: int = 0

    @property
    def name(self) -> str:
        """What a reader calls it."""
        shorter = f", output length {self.output_length}" if self.output_length else ""
        several = f", {self.requests} requests" if self.requests else ""
        return f"{self.family} {self.task}{several}{shorter}"


class Setting(Struct, frozen=True):
    """What is measured, and how: what is known under one setting is not known under another.

    Attributes:
        case: The request.
        device: A torch device; empty for the default.
        effort: How much a comparison may cost.
    """

    case: Case
    device: str
    effort: Effort


class Machine(Struct, frozen=True):
    """Where it was measured.

    Attributes:
        device: A torch device.
        name: As the driver or the operating system gives it.
        clock: What requests are timed with.
        threads: Threads of one operator.
        versions: Of everything that decides what runs.
    """

    device: str
    name: str
    clock: Clock
    threads: int
    versions: dict[str, str]


class Foreseen(Struct, frozen=True):
    """What is known of a lever before it is measured.

    Attributes:
        inapplicable: Why it does not apply; empty where it does.
        predicted: What a trace of the baseline predicts.
        unpredicted: Why it predicts nothing; empty where it does.
        silent: Whether no trace could say anything.
    """

    inapplicable: str = ""
    predicted: Predicted | None = None
    unpredicted: str = ""
    silent: bool = False


class Surveyed(Struct, frozen=True, tag=True, kw_only=True):
    """A workload was built, recorded and compared with itself.

    Attributes:
        setting: What was asked for.
        at: When, UTC in ISO 8601.
        machine: Where.
        workload: What is run: its name, task, size, batch, seed, shapes.
        foreseen: All levers, by id.
        baseline: The workload beside a second process of itself.
    """

    setting: Setting
    at: str
    machine: Machine
    workload: dict[str, Argument]
    foreseen: dict[str, Foreseen]
    baseline: BaselineMeasured


class Measured(Struct, frozen=True, tag=True, kw_only=True):
    """A lever was tried alone.

    Attributes:
        setting: What was asked for.
        at: When, UTC in ISO 8601.
        machine: Where.
        took_s: Seconds that it took, building and compiling included.
        timed_out: Whether there was no answer in time.
        baseline_s: Seconds of one request without it, in the order of the runs.
        baseline_peak_bytes: Most memory during such a request.
        noise: Factor by which two processes of the baseline may differ; the interval allows for it.
        result: What came of it.
    """

    setting: Setting
    at: str
    machine: Machine
    took_s: float
    timed_out: bool
    baseline_s: list[float]
    baseline_peak_bytes: int | None
    noise: float
    result: LeverResult


class Stacked(Struct, frozen=True, tag=True, kw_only=True):
    """`mmprof optimize` searched a stack.

    Attributes:
        setting: What was asked for.
        at: When, UTC in ISO 8601.
        budget_s: Seconds that it was given.
        wall_s: Seconds that it took.
        found: Its document; None where it failed.
        failure: Why it failed.
    """

    setting: Setting
    at: str
    budget_s: float
    wall_s: float
    found: Verification | None
    failure: str = ""


Record: TypeAlias = Surveyed | Measured | Stacked

_RECORDS: Final = msgspec.json.Decoder(Record)

R = TypeVar("R", Surveyed, Measured, Stacked)


@dataclass(slots=True)
class Store:
    """A file of records.

    Attributes:
        path: The file; it need not exist yet.
        records: What it holds, the oldest first.
    """

    path: Path
    records: list[Record] = field(default_factory=list)

    def of(self, kind: type[R]) -> list[R]:
        """The records of a kind, the oldest first."""
        return [record for record in self.records if isinstance(record, kind)]

    def survey(self, setting: Setting) -> Surveyed | None:
        """The newest survey of a setting."""
        return next((s for s in reversed(self.of(Surveyed)) if s.setting == setting), None)

    def levers(self, setting: Setting) -> set[str]:
        """The ids of the levers that were tried under a setting."""
        return {m.result.lever for m in self.of(Measured) if m.setting == setting}

    def stack(self, setting: Setting) -> Stacked | None:
        """The newest search under a setting that came to an end."""
        ended = (s for s in reversed(self.of(Stacked)) if s.found and s.setting == setting)
        return next(ended, None)

    def append(self, record: Record) -> None:
        """Add a record; it is on the disk when this returns.

        Raises:
            MmprofError: The file cannot be written.
        """
        append_record(self.path, record)
        self.records.append(record)


def open_store(path: Path) -> Store:
    """The store of a file, with what it has so far."""
    return Store(path, read_records(path, _RECORDS))


def now() -> str:
    """The time, UTC in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
