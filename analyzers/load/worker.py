"""A process that decodes every n-th fragment of a trace.

It decompresses the whole file, which costs less than moving the text between processes, and writes to standard output
messages of msgpack, each after its length in 8 bytes: fragments as they are done, the tables at the end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import IO, Final

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import blocks as b
from mmprof.analyzers.load.layout import Fragment, array_end, blocks, split
from mmprof.analyzers.load.source import Source

LENGTH_BYTES: Final = 8
DAMAGE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Decoded(msgspec.Struct, tag=True):
    """The columns of one fragment, or its text where that needs the careful reader."""

    index: int
    blocks: list[b.Block] = []
    text: bytes = b""
    tail: bytes | None = None


class Finished(msgspec.Struct, tag=True):
    """What the codes of all blocks of this process stand for, and what it learned of the file."""

    tables: b.Tables
    sha256: str
    read_bytes: int
    plain_bytes: int
    cut: str


class Failed(msgspec.Struct, tag=True):
    """The error that ended the process, as the fields of a `MmprofError`."""

    code: str
    message: str
    found: str
    hint: str


Message = Decoded | Finished | Failed


def decode_fragment(decoder: b.Decoder, fragment: Fragment) -> Decoded:
    """Decode a fragment; one that is not clean comes back as text."""
    text, tail = fragment.text, None
    if fragment.last:
        if (ended := array_end(text)) is None:
            return Decoded(fragment.index, text=text)
        text, tail = ended
    try:
        done = [decoder.decode(fragment.index, part) for part in blocks(text) if part.strip()]
    except DAMAGE:
        return Decoded(fragment.index, text=fragment.text)
    return Decoded(fragment.index, blocks=done, tail=tail)


def _share(path: str, index: int, count: int) -> Iterator[Message]:
    decoder, source = b.Decoder(), Source(path)
    try:
        for fragment in split(source):
            if isinstance(fragment, Fragment) and fragment.index % count == index:
                yield decode_fragment(decoder, fragment)
    except MmprofError as error:
        yield Failed(error.code, error.message, error.found, error.hint)
    yield Finished(decoder.tables(), source.sha256, source.read_bytes, source.plain_bytes, source.cut)


def _send(message: Message, out: IO[bytes]) -> None:
    data = msgspec.msgpack.encode(message)
    out.write(len(data).to_bytes(LENGTH_BYTES, "little"))
    out.write(data)


def main(path: str, index: int, count: int) -> None:
    """Write the messages of this process's share to standard output."""
    gc.disable()  # events live for one block; the collector would walk them for nothing
    for message in _share(path, index, count):
        _send(message, sys.stdout.buffer)
    sys.stdout.buffer.flush()
