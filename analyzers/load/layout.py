"""Where the event array of a trace begins, how it is cut into blocks, and what stands around it.

The array is cut at text that looks like the end of one event and the start of the next. A cut inside a string or a
nested list makes both neighbours invalid JSON (quotes or brackets do not balance), so a wrong cut is always noticed
by the decoder and never changes an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

SUPER_BLOCK_BYTES: Final = 1 << 22
BLOCK_BYTES: Final = 1 << 18
_KINETO_CUT: Final = b"\n  },\n  {"
_CUT: Final = re.compile(rb"\}\s*,\s*(?=\{)")
_ARRAY_END: Final = re.compile(rb"\}\s*\]|\A\s*\]")
_EVENTS_KEY: Final = re.compile(rb'(?<!\\)"traceEvents"\s*:\s*\[')
_KEY_TAIL_BYTES: Final = 64
_END_TRIES: Final = 8
_HEAD_LIMIT_BYTES: Final = 1 << 28
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark is blank as well


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the first event.

    Attributes:
        text: The text before the array, without its key; empty for a bare array.
        found: Whether an event array was found at all.
    """

    text: bytes
    found: bool


@dataclass(frozen=True, slots=True)
class Fragment:
    """A run of event text; the last one also holds the end of the array and everything after it."""

    index: int
    text: bytes
    last: bool


def split(stream: Iterable[bytes]) -> Iterator[Head | Fragment]:
    """The head of the document, then its fragments in order, the last one marked."""
    chunks = iter(stream)
    head, rest = _read_head(chunks)
    yield head
    if not head.found:
        return
    buffer, index, searched = bytearray(rest), 0, SUPER_BLOCK_BYTES
    for chunk in chunks:
        buffer += chunk
        while len(buffer) > searched:
            cut = find_cut(buffer, searched)
            if cut < 0:
                # a single event may be larger than a block: go on where the search ended, less a separator's length
                searched = max(searched, len(buffer) - _KEY_TAIL_BYTES)
                break
            yield Fragment(index, bytes(buffer[:cut]), last=False)
            del buffer[: cut + 1]
            index, searched = index + 1, SUPER_BLOCK_BYTES
    yield Fragment(index, bytes(buffer), last=True)


def find_cut(text: bytes | bytearray, start: int) -> int:
    """Position of the comma between two events at or after `start`, -1 if none."""
    at = text.find(_KINETO_CUT, start)
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


def array_end(text: bytes) -> tuple[bytes, bytes] | None:
    """Split text at the end of the event array into (events, what follows); None if the array does not end in it."""
    ends = [m.end() - 1 for m in _ARRAY_END.finditer(text)]
    for end in dict.fromkeys(ends[-_END_TRIES:][::-1] + ends[:_END_TRIES]):
        if _is_json(b"[" + text[:end] + b"]"):
            return text[:end], text[end + 1 :]
    return None


def metadata_of(head: bytes, tail: bytes) -> dict[str, Any]:
    """Everything beside the events; parts that are not valid JSON are left out."""
    before = head.rstrip().rstrip(b",") + b"}"
    after = b"{" + tail.strip().lstrip(b",").rstrip() if tail.strip() else b"{}"
    return {**_object(before), **(_object(after) or _object(after + b"}"))}


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _read_head(chunks: Iterator[bytes]) -> tuple[Head, bytes]:
    text = bytearray(next(chunks, b""))
    del text[: len(text) - len(text.lstrip(_BLANK))]
    if text.startswith(b"["):
        return Head(b"", found=True), bytes(text[1:])
    searched = 0
    while len(text) < _HEAD_LIMIT_BYTES:
        for match in _EVENTS_KEY.finditer(text, searched):
            if _at_top_level(bytes(text[: match.start()])):
                return Head(bytes(text[: match.start()]), found=True), bytes(text[match.end() :])
        searched = max(0, len(text) - _KEY_TAIL_BYTES)
        if not (chunk := next(chunks, b"")):
            break
        text += chunk
    return Head(bytes(text), found=False), b""


def _at_top_level(before: bytes) -> bool:
    """Whether a key after `before` belongs to the outermost object; damaged text before it counts as top level."""
    text = before.rstrip(b", \r\n\t")
    if _is_json(b"[" + text + b"}]"):
        return True
    return not any(_is_json(b"[" + text + close + b"]") for close in (b"}}", b"]}", b"}]}", b"}}}"))
