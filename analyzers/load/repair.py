"""Reading event text that is not clean: damaged, cut off, or of another form than libkineto's.

Each event is tried alone; what fails is mended (escapes, control characters, UTF-8, bare NaN and inf), then read
without a schema, then joined with its neighbours (a cut inside a string), and at last skipped. Everything is counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mmprof.analyzers.load import layout
from mmprof.analyzers.load import records as r

MENDED: Final = "MM-N014"
SKIPPED: Final = "MM-N015"
ODD_PHASE: Final = "MM-N016"

_CUT: Final = re.compile(rb"(?<=\})\s*,\s*(?=\{)")
_ESCAPE: Final = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\\')
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_NOT_A_NUMBER: Final = re.compile(rb"(?<=[:\[,])(\s*)-?(?:NaN|nan|[Ii]nf(?:inity)?)(?=\s*[,\]}])")
_JOIN_LIMIT: Final = 8
_EVENT: Final = msgspec.json.Decoder(r.Event)
_DAMAGE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass
class Salvage:
    """Events read from unclean text.

    Attributes:
        events: The events, in order.
        counts: Events per note code that had to be mended or left out.
        tail: What follows the end of the event array, if that was found.
        ended: Whether the end of the array was found.
    """

    events: list[r.Event] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    tail: bytes = b""
    ended: bool = False

    def count(self, code: str) -> None:
        """Count one event under a note code."""
        self.counts[code] = self.counts.get(code, 0) + 1


def salvage(text: bytes) -> Salvage:
    """Read what can be read of event text; never raises."""
    found = Salvage()
    if (split := layout.array_end(text)) is not None:
        text, found.tail, found.ended = *split, True
    pieces = [p for p in _CUT.split(text) if p.strip(b" \r\n\t,")]
    position = 0
    while position < len(pieces):
        position += _read_piece(pieces, position, found)
    return found


def mend(text: bytes) -> bytes:
    """The text with bad UTF-8, escapes, control characters and bare NaN or inf made valid JSON."""
    valid = text.decode("utf-8", "replace").encode()
    escaped = _ESCAPE.sub(lambda m: m[0] if len(m[0]) > 1 else b"\\\\", valid)
    return _NOT_A_NUMBER.sub(rb"\1null", _CONTROL.sub(b" ", escaped))


def _read_piece(pieces: list[bytes], position: int, found: Salvage) -> int:
    """Read the event at `position`; the number of pieces that it took."""
    if (event := _strict(pieces[position])) is not None:
        found.events.append(event)
        return 1
    if (count := _read_joined(pieces, position, found)) > 0:
        return count
    if (split := layout.array_end(pieces[position])) is not None:
        found.tail, found.ended = b",".join([split[1], *pieces[position + 1 :]]), True
        _read_joined([split[0]], 0, found)
        return len(pieces) - position
    found.count(SKIPPED)
    return 1


def _read_joined(pieces: list[bytes], position: int, found: Salvage) -> int:
    """Read the event whose text starts at `position`, mended or joined with what follows; 0 if it cannot be read."""
    for count in range(1, min(_JOIN_LIMIT, len(pieces) - position) + 1):
        joined = b",".join(pieces[position : position + count])
        if (event := _strict(joined) or _mended(joined, found)) is not None:
            found.events.append(event)
            return count
        if not _may_continue(joined):
            return 0
    return 0


def _strict(text: bytes) -> r.Event | None:
    try:
        return _EVENT.decode(text)
    except _DAMAGE:
        return None


def _mended(text: bytes, found: Salvage) -> r.Event | None:
    for candidate in (text, mend(text)):
        try:
            fields = msgspec.json.decode(candidate)
        except _DAMAGE:
            continue
        if isinstance(fields, dict):
            return _lenient(fields, found)
    return None


def _lenient(fields: dict[str, Any], found: Salvage) -> r.Event:
    """An event from untyped fields: text stands for what has a wrong type."""
    if (make := _MAKERS.get(str(fields.get("ph")))) is None:
        found.count(ODD_PHASE)
        return r.FlowStep()
    found.count(MENDED)
    return make(fields)


def _complete(fields: dict[str, Any]) -> r.Event:
    times = {k: _raw(fields[k]) for k in ("ts", "dur") if k in fields}
    return r.Complete(**_identity(fields), **times, args=_raw(_mapping(fields.get("args"))))


def _instant(fields: dict[str, Any]) -> r.Event:
    return r.Instant(**_identity(fields), ts=_raw(fields.get("ts")), args=_raw(_mapping(fields.get("args"))))


def _metadata(fields: dict[str, Any]) -> r.Event:
    identity = _identity(fields)
    label = _mapping(fields.get("args")).get("name")
    del identity["cat"]
    return r.Metadata(**identity, args=r.Label(name=label if isinstance(label, str) else None))


_MAKERS: Final = {"X": _complete, "i": _instant, "I": _instant, "M": _metadata}


def _identity(fields: dict[str, Any]) -> dict[str, Any]:
    text = {k: v if isinstance(v := fields.get(k), str) else "" for k in ("cat", "name")}
    return text | {k: _id(fields.get(k)) for k in ("pid", "tid")}


def _id(value: object) -> int | str:
    is_id = isinstance(value, (int, str)) and not isinstance(value, bool)
    return value if is_id else str(value)  # type: ignore[return-value]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _may_continue(text: bytes) -> bool:
    """Whether text could be the first part of an event that was cut inside a string or a list."""
    return text.count(b"{") > text.count(b"}") or text.count(b'"') % 2 == 1
