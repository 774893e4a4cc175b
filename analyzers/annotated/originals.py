"""The events of a trace as text, in pieces of bounded size: as they are written, or moved to another place.

What is damaged is mended as loading mends it, and what cannot be is left out: a viewer refuses a whole file for one bad
character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from mmprof.analyzers.annotated.encoding import micros, process_events
from mmprof.analyzers.load import layout
from mmprof.analyzers.load.mending import mend
from mmprof.analyzers.load.repair import end_of_events
from mmprof.analyzers.load.source import Source
from mmprof.analyzers.load.times import parse_column, parse_one

if TYPE_CHECKING:
    from mmprof.analyzers.annotated.joining import Placed

_JOINED_MOST_BYTES: Final = 4 * layout.SUPER_BLOCK_BYTES
_RENAMED: Final = (b'"process_name"', b'"process_sort_index"')
_FIELDS: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_INTEGER: Final = msgspec.json.Decoder(int)


@dataclass
class Originals:
    """The events of a file: iterate for texts of whole events, which commas join.

    Attributes:
        name: Path of the file.
        head: The text before the events; empty for a bare array.
        tail: The text after the events, once they were read; empty where the file was cut off.
        left_out: Pieces that could not be read.
    """

    name: str
    head: bytes = b""
    tail: bytes = b""
    left_out: int = 0
    _fragments: Iterator[layout.Fragment] = field(default_factory=lambda: iter(()))

    def __post_init__(self) -> None:
        found, self._fragments = layout.split(Source(self.name))
        self.head = found.text

    @property
    def opening(self) -> bytes:
        """The text up to the first event; what is damaged in it is left out."""
        if not self.head:
            return b"["
        known = layout.metadata_of(self.head, b"")
        valid = layout.entries(self.head.rstrip(b", \r\n\t") + b"}") is not None
        members = self.head if valid else msgspec.json.encode(known)[:-1] + b"," * bool(known)
        return members + b'"traceEvents": ['

    @property
    def closing(self) -> bytes:
        """The text after the last event, once the events were read; a file that was cut off is closed."""
        if not self.head:
            return b"]\n"
        ends = self.tail.strip() and layout.tail_metadata(self.tail) is not None
        return b"]" + self.tail if ends else b"]}\n"

    def __iter__(self) -> Iterator[bytes]:
        unclear = b""
        for fragment in self._fragments:
            text = unclear + b"," * bool(unclear) + fragment.text
            if fragment.last:
                text = self._without_tail(text)
            unclear = b""
            if layout.entries(text) is not None:
                yield text
            elif fragment.last or len(text) > _JOINED_MOST_BYTES:
                yield from self._mended(text)
            else:  # it may have been cut inside a string
                unclear = text

    def _without_tail(self, text: bytes) -> bytes:
        ended = layout.array_end(text) or end_of_events(text)
        if ended is None:
            return text
        events, self.tail = ended
        return events

    def _mended(self, text: bytes) -> Iterator[bytes]:
        whole = mend(text)
        if layout.entries(whole) is not None:
            yield whole
            return
        for piece in layout.blocks(text, 0):
            fixed = piece if layout.entries(piece) is not None else mend(piece)
            if layout.entries(fixed) is not None:
                yield fixed
            else:
                self.left_out += 1


class Mover:
    """Moves the events of one input of several: new times, processes and flow ids; all else stays as it is written.

    Attributes:
        pids: The new number of each process that was met, by its text.
    """

    def __init__(self, placed: Placed, inputs: int) -> None:
        self.pids: dict[str, int] = {}
        self._placed, self._inputs = placed, inputs
        for pid in placed.recorded.pids:
            self._pid(pid)

    def move(self, text: bytes) -> bytes:
        """The events of a text, moved; entries that are no objects are left out."""
        events = [e for e in _events(text) if not self._is_renamed(e)]
        unpadded = self._placed.recorded.unpadded
        _replace(events, "ts", self._shifted, unpadded=unpadded)
        if unpadded:
            _replace(events, "dur", int, unpadded=True)
        for event in events:
            if "pid" in event:
                event["pid"] = Raw(b"%d" % self._pid(_text(event["pid"])))
            if "id" in event:
                event["id"] = self._id(event["id"])
        return msgspec.json.encode(events)[1:-1]

    def processes(self) -> list[bytes]:
        """The names of all processes that were met."""
        devices = self._placed.recorded.device_pids
        return [
            event
            for pid, new in self.pids.items()
            for event in process_events(new, self._placed.called(_process(pid, devices)), new)
        ]

    def _is_renamed(self, event: dict[str, Raw]) -> bool:
        return "name" in event and bytes(event["name"]) in _RENAMED

    def _pid(self, pid: str) -> int:
        return self.pids.setdefault(pid, self._placed.first_pid + len(self.pids))

    def _id(self, raw: Raw) -> Raw:
        try:
            return Raw(b"%d" % (_INTEGER.decode(raw) * self._inputs + self._placed.number))
        except msgspec.MsgspecError:
            return raw

    def _shifted(self, ns: int) -> int:
        return max(0, ns + self._placed.shift_ns)


def _text(raw: Raw) -> str:
    return bytes(raw).decode("utf-8", "replace").strip('"')


def _process(pid: str, devices: frozenset[str]) -> str:
    if pid in devices:
        return f"GPU {pid}"
    return f"process {pid}" if pid.lstrip("-").isdigit() else pid or "no name"


def _events(text: bytes) -> list[dict[str, Raw]]:
    try:
        return _FIELDS.decode(b"[" + text + b"]")
    except msgspec.ValidationError:
        entries = layout.entries(text) or []
        return [e for raw in entries if bytes(raw).startswith(b"{") for e in _events(bytes(raw))]


def _replace(
    events: list[dict[str, Raw]], key: str, change: Callable[[int], int], *, unpadded: bool
) -> None:
    """Change a time of all events that have it; what is no time stays."""
    timed = [event for event in events if key in event]
    texts = [event[key] for event in timed]
    column = parse_column(texts, unpadded=unpadded)
    times = column or [parse_one(bytes(text), unpadded=unpadded) for text in texts]
    for event, ns in zip(timed, times, strict=True):
        if ns is not None:
            event[key] = Raw(micros(change(ns)))
