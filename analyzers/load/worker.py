"""A process that decodes every n-th fragment of a trace.

It decompresses the whole file, which costs less than moving the text between processes, and writes to standard output
messages of msgpack, each after its length in 8 bytes: fragments as they are done, the tables at the end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Final

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load import repair
from mmprof.analyzers.load.blocks import Decoder
from mmprof.analyzers.load.layout import DAMAGE, Fragment, Head, array_end, blocks, split
from mmprof.analyzers.load.source import Source
from mmprof.analyzers.load.times import looks_unpadded

LENGTH_BYTES: Final = 8
_TIMES_BYTES: Final = 1 << 20


class Decoded(msgspec.Struct, tag=True):
    """One fragment of the event list.

    Attributes:
        index: Its place among the fragments.
        before: Text at its start that cannot be read alone: the event may have begun in the fragment before.
        blocks: What could be read.
        after: Text at its end that cannot be read alone.
        tail: What follows the event list, if its end was found here.
    """

    index: int
    before: bytes = b""
    blocks: list[k.Block] = []
    after: bytes = b""
    tail: bytes | None = None


class Finished(msgspec.Struct, tag=True):
    """What the codes of all blocks of this process stand for, and what it learned of the file."""

    tables: k.Tables
    sha256: str
    read_bytes: int
    plain_bytes: int
    cut: str
    unpadded: bool


class Failed(msgspec.Struct, tag=True):
    """The error that ended the process, as the fields of a `MmprofError`."""

    code: str
    message: str
    found: str
    hint: str


Message = Decoded | Finished | Failed


def decode_share(
    decoder: Decoder, parts: Iterable[Head | Fragment], *, index: int = 0, count: int = 1
) -> Iterator[Decoded]:
    """Decode every `count`-th fragment of a trace, from `index` on; the first one tells how times are written."""
    for part in parts:
        if isinstance(part, Head):
            continue
        if part.index == 0:
            decoder.unpadded = looks_unpadded(part.text[:_TIMES_BYTES])
        if part.index % count == index:
            yield decode_fragment(decoder, part)


def decode_fragment(decoder: Decoder, fragment: Fragment) -> Decoded:
    """Decode a fragment block by block; unclear neighbours are joined, those at its ends are left to the caller."""
    text, tail = fragment.text, None
    if fragment.last and (ended := array_end(text)) is not None:
        text, tail = ended
    done = Decoded(fragment.index, tail=tail)
    place, unclear = place_of(fragment.index), []
    for part in blocks(text):
        if (block := _decode(decoder, place, part)) is None:
            unclear.append(part)
            continue
        if unclear and not done.blocks:
            done.before = b",".join(unclear)
        elif unclear:
            found = repair.salvage(b",".join(unclear))
            done.blocks.append(salvaged_block(decoder, place, found))
        done.blocks.append(block)
        unclear.clear()
    rest = b",".join(unclear)
    if rest and not done.blocks:
        # the end that was found may be that of a list inside an event or in the metadata: nothing here shows which
        return Decoded(fragment.index, before=fragment.text)
    return msgspec.structs.replace(done, after=rest)


def place_of(fragment: int, *, offset: int = 0) -> int:
    """The place of a fragment's blocks among all; -1 and 1 are the places of what is read from before and after them."""
    return 3 * fragment + 1 + offset


def salvaged_block(decoder: Decoder, place: int, found: repair.Salvage) -> k.Block:
    """The block of events that were read from unclean text."""
    block = decoder.block(place, found.events, found.mended)
    for code, count in found.counts.items():
        k.count_note(block, code, count)
    return block


def _decode(decoder: Decoder, place: int, text: bytes) -> k.Block | None:
    """The block of some text; None where something in it can only be read with its neighbours, or not at all."""
    try:
        return decoder.decode(place, text)
    except DAMAGE:
        found = repair.salvage(text, all_or_nothing=True)
    return None if repair.UNREADABLE in found.counts else salvaged_block(decoder, place, found)


def _share(path: str, index: int, count: int) -> Iterator[Message]:
    decoder, source = Decoder(), Source(path)
    try:
        yield from decode_share(decoder, split(source), index=index, count=count)
    except MmprofError as error:
        yield Failed(error.code, error.message, error.found, error.hint)
    yield Finished(
        decoder.tables(),
        source.sha256,
        source.read_bytes,
        source.plain_bytes,
        source.cut,
        decoder.unpadded,
    )


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
