"""A process that decodes fragments of a trace.

It reads fragments of text from standard input, each after a header, and writes to standard output messages of msgpack, each after
its length in 8 bytes: what it decoded fragment by fragment, the tables at the end.
"""

from __future__ import annotations

import gc
import struct
import sys
from typing import IO, Final, NamedTuple

import msgspec

from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load import repair
from mmprof.analyzers.load.blocks import Decoder
from mmprof.analyzers.load.layout import DAMAGE, Fragment, array_end, blocks

LENGTH_BYTES: Final = 8
_HEADER: Final = struct.Struct("<QQ???")


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
    """What the codes of all blocks of this process stand for."""

    tables: k.Tables


Message = Decoded | Finished


class Manner(NamedTuple):
    """How a decoder is to read times (`Decoder.unpadded`, `Decoder.exact`)."""

    unpadded: bool
    exact: bool


def pack(fragment: Fragment, manner: Manner) -> bytes:
    """The header of a fragment: its place, the length of its text, whether it is the last, how its times are read."""
    return _HEADER.pack(fragment.index, len(fragment.text), fragment.last, *manner)


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


def _send(message: Message, out: IO[bytes]) -> None:
    data = msgspec.msgpack.encode(message)
    out.write(len(data).to_bytes(LENGTH_BYTES, "little"))
    out.write(data)
    out.flush()


def main() -> None:
    """Decode the fragments of standard input until it ends."""
    gc.disable()  # events live for one block; the collector would walk them for nothing
    decoder, text, out = Decoder(), sys.stdin.buffer, sys.stdout.buffer
    while len(header := text.read(_HEADER.size)) == _HEADER.size:
        index, length, last, decoder.unpadded, decoder.exact = _HEADER.unpack(header)
        _send(decode_fragment(decoder, Fragment(index, text.read(length), last)), out)
    _send(Finished(decoder.tables()), out)
