"""Reading event text that is not clean: damaged, cut off, or of another form than libkineto's.

Each event is tried alone; what fails is mended (escapes, control characters, UTF-8, bare NaN and inf) and read without
a schema, then joined with its neighbours (a cut inside a string), and at last skipped. Everything is counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from mmprof.analyzers.load import layout
from mmprof.analyzers.load import records as r
from mmprof.analyzers.load.mending import mend

UNREADABLE: Final = "MM-N015"
ODD_PHASE: Final = "MM-N016"

T = TypeVar("T")

_CUT: Final = re.compile(rb"(?<=\})\s*,\s*(?=\{)")
_BETWEEN: Final = b" \r\n\t,"
_MENDED_IN_ONE_GO_BYTES: Final = 1 << 22
_JOIN_LIMIT: Final = 8
_JOINS_THAT_MAY_FAIL: Final = 10_000
_PHASE_KEY: Final = b'"ph"'
_EVENT: Final[msgspec.json.Decoder[r.Event]] = msgspec.json.Decoder(r.Event)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_ID: Final[msgspec.json.Decoder[int | str]] = msgspec.json.Decoder(int | str)
_LABEL: Final = msgspec.json.Decoder(r.Label)


class Salvage(msgspec.Struct):
    """Events read from unclean text.

    Attributes:
        events: The entries of the list in order; `records.Unread` holds the place of one that is no event.
        mended: Positions of the events that had to be mended.
        counts: Entries per note code that were left out.
        valid: Whether the text was valid JSON, so that just the form of some entries was unexpected.
        tail: What follows the end of the event array; None if its end was not found.
        patience: How many more attempts to join pieces may fail before pieces are no longer joined.
    """

    events: list[r.Entry] = []
    mended: set[int] = set()
    counts: dict[str, int] = {}
    valid: bool = True
    tail: bytes | None = None
    patience: int = _JOINS_THAT_MAY_FAIL

    def leave_out(self, code: str) -> None:
        """Count an entry that is no readable event, and keep its place."""
        self.counts[code] = self.counts.get(code, 0) + 1
        self.events.append(r.Unread(code))


def salvage(text: bytes, *, last: bool = False, all_or_nothing: bool = False) -> Salvage:
    """Read what can be read of event text; never raises.

    Args:
        text: Entries of the event list, separated by commas.
        last: Whether the text goes on to the end of the file, so that the list ends in it or the file was cut off.
        all_or_nothing: Whether to stop at the first entry that cannot be read.
    """
    found = Salvage()
    if last and (ended := layout.array_end(text) or end_of_events(text)) is not None:
        text, found.tail = ended
    found.valid = (entries := layout.entries(text)) is not None
    mended = entries if entries is not None else _entries_mended(text)
    if mended is not None:
        written = _pieces(text) if entries is None else mended
        _read_entries(written, mended, found, all_or_nothing=all_or_nothing)
        return found
    _read_pieces(text, found, all_or_nothing=all_or_nothing)
    if last and found.tail is None:
        _forget_partial_entry(found)
    return found


def _pieces(text: bytes) -> list[bytes]:
    return [piece.strip(_BETWEEN) for piece in _CUT.split(text)]


def _entries_mended(text: bytes) -> list[Raw] | None:
    """The entries of text that is valid JSON when it is mended in one go; None if their number is in doubt."""
    if len(text) > _MENDED_IN_ONE_GO_BYTES or (entries := layout.entries(mend(text))) is None:
        return None
    return entries if len(entries) == len(_CUT.findall(text)) + 1 else None


def end_of_events(text: bytes) -> tuple[bytes, bytes] | None:
    """Damaged text split at the end of the event list, looked for from the last event on; None if there is none."""
    last_event = text.rfind(b"{", 0, max(text.rfind(_PHASE_KEY), 0))
    start = max(last_event, 0)
    if (ended := layout.end_after_damage(text[start:])) is None:
        return None
    return text[:start] + ended[0], ended[1]


def _forget_partial_entry(found: Salvage) -> None:
    """What the file was cut in is not an entry that could not be read: the note about the cut tells of it."""
    while found.events and found.events[-1] == r.Unread(UNREADABLE):
        found.events.pop()
        found.counts[UNREADABLE] -= 1


def _read_entries(
    written: Sequence[bytes | Raw], mended: Sequence[Raw], found: Salvage, *, all_or_nothing: bool
) -> None:
    """Read entries whose extent is known, each as it was written or else mended."""
    for text, valid in zip(written, mended, strict=True):
        event = _strict(text)
        if event is None and (event := _strict(valid)) is not None:
            found.mended.add(len(found.events))
        if event is not None:
            found.events.append(event)
        elif not _read_mended(bytes(valid), found):
            found.leave_out(UNREADABLE)
            if all_or_nothing:
                return


def _read_pieces(text: bytes, found: Salvage, *, all_or_nothing: bool) -> None:
    """Read text that is cut where events seem to end, each event joined with what follows if need be."""
    cuts = [match.span() for match in _CUT.finditer(text)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    position = 0
    while position < len(starts) and not (all_or_nothing and UNREADABLE in found.counts):
        near = ends[position : position + _JOIN_LIMIT]
        position += _read_joined(
            (text[starts[position] : end].strip(_BETWEEN) for end in near), found
        )


def _read_joined(candidates: Iterable[bytes], found: Salvage) -> int:
    """Read the first of ever longer texts that is an event; the number of pieces that it took."""
    for count, text in enumerate(candidates, start=1):
        if not text and count == 1:
            return 1
        if (event := _strict(text)) is not None:
            found.events.append(event)
            return count
        if _read_mended(text, found):
            return count
        if found.patience <= 0 or not _may_continue(text):
            break
        found.patience -= 1
    found.leave_out(UNREADABLE)
    return 1


def _may_continue(text: bytes) -> bool:
    """Whether text could be the first part of an event that was cut inside a string or a list."""
    return text.count(b"{") > text.count(b"}") or text.count(b'"') % 2 == 1


def _strict(text: bytes | Raw) -> r.Event | None:
    try:
        return _EVENT.decode(text)
    except layout.DAMAGE:
        return None


def _read_mended(text: bytes, found: Salvage) -> bool:
    """Read an event, mended where it is not valid JSON, without a schema: what has a wrong type is ignored."""
    if _PHASE_KEY not in text:
        return False
    fields = (_typed(_FIELDS, text) if text.isascii() else None) or _typed(_FIELDS, mend(text))
    if fields is None or (phase := _typed(_TEXT, fields.get("ph"))) is None:
        return False
    if (make := _MAKERS.get(phase)) is None:
        found.leave_out(ODD_PHASE)
    else:
        found.mended.add(len(found.events))
        found.events.append(make(fields))
    return True


def _typed(decoder: msgspec.json.Decoder[T], raw: bytes | Raw | None) -> T | None:
    try:
        return None if raw is None else decoder.decode(raw)
    except layout.DAMAGE:
        return None


def _complete(fields: Mapping[str, Raw]) -> r.Event:
    pid, tid = _row(fields)
    return r.Complete(
        cat=_text(fields, "cat"),
        name=_text(fields, "name"),
        pid=pid,
        tid=tid,
        ts=fields.get("ts", r.ABSENT),
        dur=fields.get("dur", r.ABSENT),
        args=_mapping(fields),
    )


def _instant(fields: Mapping[str, Raw]) -> r.Event:
    pid, tid = _row(fields)
    times = fields.get("ts", r.ABSENT)
    return r.Instant(
        cat=_text(fields, "cat"),
        name=_text(fields, "name"),
        pid=pid,
        tid=tid,
        ts=times,
        args=_mapping(fields),
    )


def _metadata(fields: Mapping[str, Raw]) -> r.Event:
    pid, tid = _row(fields)
    label = _typed(_LABEL, fields.get("args")) or r.Label()
    return r.Metadata(name=_text(fields, "name"), pid=pid, tid=tid, args=label)


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Raw]], r.Event]]] = {
    "X": _complete,
    "i": _instant,
    "I": _instant,
    "M": _metadata,
    "s": lambda _: r.FlowStart(),
    "f": lambda _: r.FlowEnd(),
    "t": lambda _: r.FlowStep(),
    "C": lambda _: r.Counter(),
}


def _text(fields: Mapping[str, Raw], key: str) -> str:
    return _typed(_TEXT, fields.get(key)) or ""


def _row(fields: Mapping[str, Raw]) -> tuple[int | str, int | str]:
    pid, tid = (_id(fields.get(key)) for key in ("pid", "tid"))
    return pid, tid


def _id(raw: Raw | None) -> int | str:
    """A process or thread; the text of what is neither a number nor a name still tells rows apart."""
    if raw is None:
        return 0
    known = _typed(_ID, raw)
    return bytes(raw).decode() if known is None else known


def _mapping(fields: Mapping[str, Raw]) -> Raw:
    args = fields.get("args", r.ABSENT)
    return args if bytes(args).startswith(b"{") else r.ABSENT
