"""Where the event array of a trace begins, how it is cut into blocks, and what stands around it.

The array is cut at text that looks like the end of one event and the start of the next. A cut inside a string or a
nested list of the array makes both neighbours invalid JSON (quotes or brackets do not balance), so the decoder notices it
and no answer changes. What is cut behind the array is found by `array_end`, which asks the decoder where the array ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from mmprof.analyzers.load.mending import mend

# A key of files that `mmprof export` made of several traces: the names of these.
JOINED_KEY: Final = "mmprofJoined"
SUPER_BLOCK_BYTES: Final = 1 << 22
BLOCK_BYTES: Final = 1 << 18
DAMAGE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_KINETO_CUT: Final = b"\n  },\n  {"
_KINETO_CUT_WITHIN_BYTES: Final = 1 << 14
_CUT: Final = re.compile(rb"\}\s*,\s*(?=\{)")
_ARRAY_END: Final = re.compile(rb"\}\s*,?\s*\]")
_GOES_ON: Final = re.compile(r"trailing characters \(byte (\d+)\)")
_EVENTS_KEY: Final = re.compile(rb'"traceEvents"\s*:\s*\[')
_MEMBER_LINE: Final = re.compile(rb',?\s*\n {0,2}(?=")')
_PHASE_KEY: Final = b'"ph"'
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_CLOSING: Final = {b"{": b"}", b"[": b"]"}
_KEY_TAIL_BYTES: Final = 64
_END_TRIES: Final = 16
_KEY_TRIES: Final = 16
_HEAD_LIMIT_BYTES: Final = 1 << 28
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark is blank as well
_ENTRIES: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Head(msgspec.Struct, frozen=True):
    """What stands before the first event.

    Attributes:
        text: The text before the array, without its key; empty for a bare array.
        found: Whether an event array was found at all.
    """

    text: bytes
    found: bool


class Fragment(msgspec.Struct, frozen=True):
    """A run of event text; the last one also holds the end of the array and everything after it."""

    index: int
    text: bytes
    last: bool


def split(stream: Iterable[bytes]) -> tuple[Head, Iterator[Fragment]]:
    """The head of the document, and its fragments in order, the last one marked; none where no array was found."""
    chunks = iter(stream)
    head, rest = _read_head(chunks)
    return head, _fragments(rest, chunks) if head.found else iter(())


def _fragments(start: bytes, chunks: Iterable[bytes]) -> Iterator[Fragment]:
    """Fragments of at least `SUPER_BLOCK_BYTES`, cut between events; an event may be larger than that.

    Chunks are joined once: a buffer that grows and shrinks would be given fresh pages for each fragment. `pieces` holds the
    `held` bytes since the last cut, `carry` the end of what was searched in vain.
    """
    pieces: list[bytes | memoryview] = []
    index, held, carry = 0, 0, b""
    for chunk in chain([start], chunks):
        text, begin = carry + chunk, 0
        view = memoryview(text)
        while (cut := find_cut(text, begin + max(0, SUPER_BLOCK_BYTES - held))) >= 0:
            yield Fragment(index, b"".join([*pieces, view[begin:cut]]), last=False)
            pieces, index, held, begin = [], index + 1, 0, cut + 1
        # a separator may have begun where a search for one ended
        looked_at = held + len(text) - begin > SUPER_BLOCK_BYTES
        end = max(begin, len(text) - _KEY_TAIL_BYTES) if looked_at else len(text)
        pieces.append(view[begin:end])
        held, carry = held + end - begin, text[end:]
    yield Fragment(index, b"".join([*pieces, carry]), last=True)


def find_cut(text: bytes, start: int) -> int:
    """Position of the comma between two events at or after `start`, -1 if none."""
    at = text.find(_KINETO_CUT, start, start + _KINETO_CUT_WITHIN_BYTES)
    if at >= 0:
        return at + 4
    match = _CUT.search(text, start)
    return text.index(b",", match.start()) if match else -1


def blocks(text: bytes, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Cut a fragment into blocks of about `size` bytes, small enough that a block's objects stay in the cache."""
    start = 0
    while len(text) - start > size:
        cut = find_cut(text, start + size)
        if cut < 0:
            break
        yield text[start:cut]
        start = cut + 1
    yield text[start:]


def entries(text: bytes) -> list[msgspec.Raw] | None:
    """The entries of a list without its brackets, each as text; None if the text is not valid JSON."""
    try:
        return _ENTRIES.decode(b"[" + text + b"]")
    except DAMAGE:
        return None


def array_end(text: bytes) -> tuple[bytes, bytes] | None:
    """Split text at the end of the event array into (events, what follows); None if no valid array ends in it.

    The decoder reads the array to its closing bracket and says where the text goes on; nothing is guessed.
    """
    whole = b"[" + text
    try:
        _ENTRIES.decode(whole)
        end = len(whole)
    except DAMAGE as error:
        if (goes_on := _GOES_ON.search(str(error))) is None:
            return None
        end = int(goes_on[1]) - 1
    closing = whole.rindex(b"]", 0, end)
    tail = whole[closing + 1 :]
    # a wrong cut can leave the end of a list inside an event at the start of the text: events follow then
    return (
        (whole[1:closing], tail)
        if _PHASE_KEY not in tail or tail_metadata(tail) is not None
        else None
    )


def end_after_damage(text: bytes) -> tuple[bytes, bytes] | None:
    """Like `array_end` for text that is not valid JSON: the first bracket after which a document ends properly."""
    for match, _ in zip(_ARRAY_END.finditer(text), range(_END_TRIES), strict=False):
        if tail_metadata(text[match.end() :]) is not None:
            return text[: match.end() - 1], text[match.end() :]
    return None


def tail_metadata(tail: bytes) -> dict[str, Any] | None:
    """What stands after the event array; None if the document does not end there as it should."""
    rest = tail.strip(_BLANK + b"\x00")
    if not rest:
        return {}
    closed = rest.startswith((b",", b"}")) and rest.endswith(b"}")
    return _object(b"{" + rest.removeprefix(b",")) if closed else None


def metadata_of(head: bytes, tail: bytes) -> dict[str, Any]:
    """Everything beside the events; members that are not valid JSON are left out."""
    before = _object(head.rstrip().rstrip(b",") + b"}")
    after = tail_metadata(tail)
    return {
        **(_members(head) if before is None else before),
        **(_members(tail) if after is None else after),
    }


def _members(text: bytes) -> dict[str, Any]:
    """The members of a damaged object that can be read alone; libkineto starts each on a line of its own."""
    found: dict[str, Any] = {}
    for line in _MEMBER_LINE.split(text):
        member = line.strip(b" \r\n\t,{")
        found |= _object(b"{" + member + b"}") or _object(b"{" + member) or {}
    return found


def _object(text: bytes) -> dict[str, Any] | None:
    for change in (bytes, mend):
        try:
            value = msgspec.json.decode(change(text))
        except DAMAGE:
            continue
        return value if isinstance(value, dict) else None
    return None


def _read_head(chunks: Iterator[bytes]) -> tuple[Head, bytes]:
    text = bytearray()
    for chunk in chunks:
        if text := bytearray((text + chunk).lstrip(_BLANK)):
            break
    if text.startswith(b"["):
        return Head(b"", found=True), bytes(text[1:])
    nesting, searched = _Nesting(), 0
    while len(text) < _HEAD_LIMIT_BYTES:
        for match in _EVENTS_KEY.finditer(text, searched):
            if nesting.is_top_level(text, match.start()):
                return Head(bytes(text[: match.start()]), found=True), bytes(text[match.end() :])
        searched = max(0, len(text) - _KEY_TAIL_BYTES)
        if not (chunk := next(chunks, b"")):
            break
        text += chunk
    return Head(bytes(text), found=False), b""


class _Nesting:
    """What is open at a place of a growing text, which is read once from start to end."""

    def __init__(self) -> None:
        self._read_to, self._tries = 0, 0
        self._closing: list[bytes] = []

    def is_top_level(self, text: bytearray, key: int) -> bool:
        """Whether the key at this position is the outermost object's; in damaged text the first key counts as that."""
        for token in _TOKEN.finditer(text, self._read_to):
            if token.start() >= key:
                break
            self._take(token[0])
            self._read_to = token.end()
        self._tries += 1
        if len(self._closing) == 1 and self._read_to <= key:
            return True
        return self._tries <= _KEY_TRIES and self._is_damaged(bytes(text[:key]))

    def _take(self, token: bytes) -> None:
        if token in _CLOSING:
            self._closing.append(_CLOSING[token])
        elif self._closing and token in _CLOSING.values():
            self._closing.pop()

    def _is_damaged(self, before: bytes) -> bool:
        """Whether the text before a key is no JSON even when all that is open in it is closed."""
        return entries(before.rstrip(b", \r\n\t") + b"".join(self._closing[::-1])) is None
