"""The file of an annotated trace as a stream of bytes: memory holds the tracks and one piece of the events."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.analyzers.annotated.encoding import device_events
from mmprof.analyzers.annotated.joining import Placed, arrows
from mmprof.analyzers.annotated.originals import Mover, Originals
from mmprof.analyzers.load.layout import JOINED_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mmprof.analyzers.annotated.recorded import Recorded

# Beyond every process id of Linux (PID_MAX_LIMIT), so that the tracks are a process of their own.
_FIRST_PID: Final = (1 << 22) + 1
# Before every process, which are sorted by their ids.
_FIRST_SORT_INDEX: Final = -1_000


@dataclass
class Document:
    """The text of a file: iterate for its bytes.

    Attributes:
        left_out: Damaged pieces of the inputs that could not be kept, once the bytes were read.
    """

    chunks: Iterator[bytes]
    left_out: int = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


def annotated_document(recorded: Recorded, *, tracks_only: bool = False) -> Document:
    """The document of one input: its own text, byte for byte, with tracks at the end of its list of events.

    Where the list is damaged it is mended; what cannot be is left out, and counted.
    """
    document = Document(iter(()))
    if tracks_only:
        document.chunks = _tracks_alone(recorded)
    elif recorded.unpadded:
        document.chunks = _joined(document, [Placed(recorded)])
    else:
        document.chunks = _with_original(document, recorded)
    return document


def joined_document(placed: Sequence[Placed], *, tracks_only: bool = False) -> Document:
    """The document of several inputs, each moved to its place."""
    document = Document(iter(()))
    document.chunks = _joined(document, placed, tracks_only=tracks_only)
    return document


def _with_original(document: Document, recorded: Recorded) -> Iterator[bytes]:
    original = Originals(recorded.path)
    yield original.opening
    yield from _separated([original, _tracks(recorded)])
    document.left_out += original.left_out
    yield b"\n" + original.closing


def _tracks_alone(recorded: Recorded) -> Iterator[bytes]:
    base: dict[str, object] = {"baseTimeNanoseconds": recorded.base_ns} if recorded.base_ns else {}
    yield _head(base)
    yield from _separated([_tracks(recorded)])
    yield b"\n]}\n"


def _tracks(recorded: Recorded) -> Iterator[bytes]:
    free = (pid for pid in count(_FIRST_PID) if str(pid) not in recorded.pids)
    for at, (device, pid) in enumerate(zip(recorded.devices, free, strict=False)):
        yield from device_events(
            device, pid, name=f"mmprof: {device.title}", sort_index=_FIRST_SORT_INDEX + at
        )


def _joined(
    document: Document, placed: Sequence[Placed], *, tracks_only: bool = False
) -> Iterator[bytes]:
    yield _head(_members(placed))
    originals = () if tracks_only else (_moved(document, p, len(placed)) for p in placed)
    yield from _separated([*originals, *map(_moved_tracks, placed), arrows(placed)])
    yield b"\n]}\n"


def _members(placed: Sequence[Placed]) -> dict[str, object]:
    """What the file says beside its events: the names of several inputs, and the clock where it is theirs."""
    joined: dict[str, object] = {JOINED_KEY: [p.label for p in placed]} if len(placed) > 1 else {}
    bases = [p.recorded.base_ns for p in placed]
    is_clock = all(bases) and not any(p.side for p in placed)
    return joined | ({"baseTimeNanoseconds": min(bases)} if is_clock else {})


def _head(members: dict[str, object]) -> bytes:
    known = {"schemaVersion": 1, "displayTimeUnit": "ms", **members}
    return msgspec.json.encode(known)[:-1] + b',"traceEvents":['


def _moved(document: Document, placed: Placed, inputs: int) -> Iterator[bytes]:
    original, mover = Originals(placed.recorded.path), Mover(placed, inputs)
    yield from map(mover.move, original)
    yield from mover.processes()
    document.left_out += original.left_out


def _moved_tracks(placed: Placed) -> Iterator[bytes]:
    for at, device in enumerate(placed.recorded.devices):
        yield from device_events(
            device,
            placed.track_pid(at),
            name=placed.called(f"mmprof: {device.title}"),
            sort_index=placed.number * 100 + at,
            shift_ns=placed.shift_ns,
        )


def _separated(parts: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """All texts with commas between them."""
    comma = b""
    for part in parts:
        for text in part:
            if text.strip():
                yield comma
                yield text
                comma = b",\n"
