"""Columns of events: plain arrays with codes for what repeats, so that a block can cross a process boundary as bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.load import records as r

NULL: Final = r.NULL
MAX_DUR_NS: Final = 10**15

HOST: Final = "host"
OPERATOR: Final = "operator"
LAUNCH: Final = "launch"
ACTIVITY: Final = "activity"
SYNC: Final = "sync"
OTHER: Final = "other"
MEMORY: Final = "memory"

_FAMILY_OF_KIND: Final = {
    c.OPERATOR: OPERATOR,
    c.ANNOTATION: HOST,
    c.PYTHON: HOST,
    c.RUNTIME: LAUNCH,
    c.DRIVER: LAUNCH,
    c.KERNEL: ACTIVITY,
    c.MEMCPY: ACTIVITY,
    c.MEMSET: ACTIVITY,
    c.DEVICE_ANNOTATION: ACTIVITY,
    c.SYNC: SYNC,
    c.OVERHEAD: OTHER,
    c.MEMORY: MEMORY,
    c.OTHER: OTHER,
}

Call = tuple[str, str, str, str, str, str]
Shape = tuple[str, str]
Collective = tuple[str, str, int, int, int]
Thread = tuple[int | str, int | str]
NO_CALL: Final[Call] = ("", "", "", "", "", "")


def family_of(category: str) -> str:
    """The family that events of a category belong to."""
    return _FAMILY_OF_KIND[c.kind_of(category)]


class Codes(dict[Any, int]):
    """Codes of distinct values, in order of appearance."""

    def __missing__(self, value: object) -> int:
        code = self[value] = len(self)
        return code


class Tables(Struct):
    """What the codes of a decoder's columns stand for."""

    names: list[str] = []
    categories: list[str] = []
    threads: list[Thread] = []
    calls: list[Call] = []
    shapes: list[Shape] = []
    collectives: list[Collective] = []


class Columns(Struct):
    """Columns of one family.

    Attributes:
        codes: uint32.
        ints: int64, NULL where the event has no value.
        micros: float64: durations in microseconds, in place of `dur_ns`, whose check and conversion is left to `tables`.
    """

    codes: dict[str, bytes] = {}
    ints: dict[str, bytes] = {}
    micros: bytes = b""


class Block(Struct):
    """A decoded run of events.

    Attributes:
        index: Its place among the blocks of the file; blocks of the same place keep their order.
        events: Number of events in it, of any phase.
        families: Columns per family of events.
        kept_out: Number of events that no table keeps, per phase or category.
        notes: Number of repaired or skipped events per note code.
        labels: Metadata events as (what, pid, tid, label).
        first_event: Position of its first event in the file, once all blocks are known.
    """

    index: int
    events: int
    first_event: int = 0
    families: dict[str, Columns] = {}
    kept_out: dict[str, int] = {}
    notes: dict[str, int] = {}
    labels: list[tuple[str, int | str, int | str, str]] = []


def merge(into: Columns, other: Columns) -> None:
    """Append the rows of `other` to `into`; both are of one family and so have the same columns."""
    for name, data in other.codes.items():
        into.codes[name] = into.codes.get(name, b"") + data
    for name, data in other.ints.items():
        into.ints[name] = into.ints.get(name, b"") + data
    into.micros += other.micros


def count_note(block: Block, code: str, count: int = 1) -> None:
    """Count a repaired or skipped event under its note code."""
    block.notes[code] = block.notes.get(code, 0) + count


def encode(codes: Codes, values: Iterable[object]) -> bytes:
    """uint32 column of the codes of the values."""
    return array("I", map(codes.__getitem__, values)).tobytes()


def whole(values: list[r.Number]) -> bytes:
    """int64 column of the values that are whole numbers, NULL for the others."""
    try:
        return array("q", values).tobytes()  # type: ignore[type-var]
    except (TypeError, OverflowError):
        return array("q", map(_whole_or_null, values)).tobytes()


def _whole_or_null(value: r.Number) -> int:
    try:
        found = int(value, 0) if isinstance(value, str) else int(value or 0)
    except (ValueError, OverflowError):
        return NULL
    is_whole = isinstance(value, str) or found == value
    # `Comms Id` and damaged ids are up to uint64 and beyond
    return found if is_whole and -(2**63) < found < 2**63 else NULL
