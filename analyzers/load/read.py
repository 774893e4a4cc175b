"""The events of a trace as columns, read by one process or several."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load import repair
from mmprof.analyzers.load.blocks import Decoder
from mmprof.analyzers.load.layout import DAMAGE, Fragment, metadata_of, split, tail_metadata
from mmprof.analyzers.load.parallel import Decoders
from mmprof.analyzers.load.source import Source, empty, plain_size_hint
from mmprof.analyzers.load.times import looks_unpadded
from mmprof.analyzers.load.worker import (
    Decoded,
    Manner,
    decode_fragment,
    place_of,
    salvaged_block,
)

PARALLEL_FROM_BYTES: Final = 4 << 20
MAX_PROCESSES: Final = 4
_BYTES_FOR_EACH: Final = 32 << 20
_TIMES_BYTES: Final = 1 << 20


@dataclass
class Share:
    """The blocks of one decoder and what their codes stand for."""

    blocks: list[k.Block]
    tables: k.Tables


@dataclass
class RawTrace:
    """A trace as read: everything that is known before tables are built.

    Attributes:
        shares: Decoded blocks by decoder; block indices give the order in the file.
        metadata: Everything in the document beside the events.
        is_array: Whether the document is just a list, without keys.
        valid: Whether the event list is valid JSON, as far as it had to be looked at closely.
        unpadded: Whether times are written without leading zeros of the decimals.
        incomplete: What shows that the document was cut off; empty if nothing does.
        counts: Events per note code that were mended or skipped.
        kept_out: Events per phase that no table keeps.
        labels: Metadata events as (what, pid, tid, label).
        events: Number of entries of the event list.
    """

    source: Source
    shares: list[Share] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    is_array: bool = False
    valid: bool = True
    unpadded: bool = False
    incomplete: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    kept_out: dict[str, int] = field(default_factory=dict)
    labels: list[tuple[str, int | str, int | str, str]] = field(default_factory=list)
    events: int = 0


def read(name: str, *, processes: int | None = None, exact: bool = False) -> RawTrace:
    """Read a trace file, or standard input for `-`.

    Args:
        name: Path of the trace, or `-`.
        processes: Number of decoding processes besides this one, 0 for none; None decides by the size of the file.
            What can be read just once, as standard input, is read by this process.
        exact: Whether durations are checked and converted one by one; else those of a big file are left as float64 to
            `tables`, which says if one of them has to be looked at.

    Raises:
        MmprofError: The input cannot be read as a trace at all.
    """
    count = 0
    if _is_file(name):
        count = _processes_for(name) if processes is None else processes
    source = Source(name)
    with _collector_off():
        return _read_parallel(source, count, exact=exact) if count else _read_here(source)


def _is_file(name: str) -> bool:
    return name != "-" and Path(name).is_file()


def _processes_for(name: str) -> int:
    """One process decodes while this one is still importing; more pay only where there is enough for each."""
    size = plain_size_hint(Path(name))
    if size < PARALLEL_FROM_BYTES or _cores() == 1:
        return 0
    return min(1 + size // _BYTES_FOR_EACH, _cores(), MAX_PROCESSES)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _collector_off() -> Iterator[None]:
    """Events are many and acyclic: walking them again and again would double the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_here(source: Source) -> RawTrace:
    head, fragments, unpadded = _opened(source)
    decoder = Decoder(unpadded=unpadded)
    done = [decode_fragment(decoder, fragment) for fragment in fragments]
    trace = RawTrace(source, unpadded=unpadded)
    _assemble(trace, head, [(decoder.tables(), done)])
    return trace


def _read_parallel(source: Source, count: int, *, exact: bool) -> RawTrace:
    try:
        with Decoders(count) as decoders:
            head, fragments, unpadded = _opened(source)
            shares = decoders.decode(fragments, Manner(unpadded, exact))
    except OSError:  # a process could not be started
        shares = None
    if shares is None:
        return _read_here(Source(source.name))
    trace = RawTrace(source, unpadded=unpadded)
    _assemble(trace, head, shares)
    return trace


def _opened(source: Source) -> tuple[bytes, Iterator[Fragment], bool]:
    """The text before the event array, its fragments, and whether times are written without leading zeros.

    Raises:
        MmprofError: There is no event array.
    """
    head, fragments = split(source)
    if not head.found:
        raise no_trace(source, head.text)
    first = next(fragments)
    return head.text, chain([first], fragments), looks_unpadded(first.text[:_TIMES_BYTES])


def no_trace(source: Source, text: bytes) -> MmprofError:
    """The error for input in which no event array was found."""
    if source.cut:
        return MmprofError(
            "MM-E009",
            f"{source.name} holds nothing readable",
            found=source.cut,
            hint="copy or record the file again",
        )
    if source.plain_bytes == 0:
        return empty(source.name, found=f"{source.read_bytes:,} bytes that hold nothing")
    try:
        document = msgspec.json.decode(text)
    except DAMAGE as error:
        return not_json(source.name, _start(text), why=str(error))
    if isinstance(document, dict) and "traceEvents" in document:
        return no_readable_event(
            source.name, f"`traceEvents` is {_json_type(document['traceEvents'])}, not a list"
        )
    return no_events_list(source.name, document)


def not_json(name: str, start: str, *, why: str) -> MmprofError:
    """The error for text that is not JSON."""
    return MmprofError(
        "MM-E003",
        f"{name} is not JSON",
        found=f"it starts with {start!r} ({why})" if start else "only blanks",
        hint="give a trace exported by torch.profiler (.json, .json.gz or .json.zst)",
    )


def no_events_list(name: str, document: object) -> MmprofError:
    """The error for JSON that is no trace."""
    keys = ", ".join(sorted(map(repr, document))[:8]) if isinstance(document, dict) else ""
    return MmprofError(
        "MM-E004",
        f"{name} is JSON, but no trace: it has no list `traceEvents`",
        found=f"the keys {keys}" if keys else _json_type(document),
        hint="export with prof.export_chrome_trace(...)",
    )


def no_readable_event(name: str, found: str) -> MmprofError:
    """The error for a trace without a single entry that has the form of an event."""
    return MmprofError(
        "MM-E008",
        f"{name} has no readable event: what it lists has none of the expected types",
        found=found,
        hint="export with prof.export_chrome_trace(...), and leave the file as it is",
    )


def _start(text: bytes) -> str:
    return text[:40].decode("utf-8", "replace").strip()


def _json_type(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _assemble(trace: RawTrace, head: bytes, shares: list[tuple[k.Tables, list[Decoded]]]) -> None:
    trace.is_array = not head
    trace.shares = [
        Share([block for d in done for block in d.blocks], tables) for tables, done in shares
    ]
    done = sorted((d for _, decoded in shares for d in decoded), key=lambda d: d.index)
    tail = _salvage_runs(trace, done)
    if tail is None:
        trace.incomplete = "the list of events has no end"
    elif tail_metadata(tail) is None or (head and not tail.strip()):
        trace.incomplete = "what follows the list of events has no end"
    trace.metadata = metadata_of(head, tail or b"")
    _number_events(trace)


def _number_events(trace: RawTrace) -> None:
    """Give each block the position of its first event, and gather what the blocks counted."""
    blocks = (block for share in trace.shares for block in share.blocks)
    for block in sorted(blocks, key=attrgetter("index")):
        block.first_event = trace.events
        trace.events += block.events
        trace.labels += block.labels
        for counts, more in ((trace.kept_out, block.kept_out), (trace.counts, block.notes)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count


def _salvage_runs(trace: RawTrace, done: list[Decoded]) -> bytes | None:
    """Read the text that no fragment could read alone; what follows the event array, None if that has no end."""
    decoder, blocks = Decoder(unpadded=trace.unpadded), []
    tail = next((d.tail for d in done if d.tail is not None), None)
    for place, text, last in _runs(done):
        found = repair.salvage(text, last=last and tail is None)
        blocks.append(salvaged_block(decoder, place, found))
        tail = found.tail if tail is None else tail
        trace.valid = trace.valid and found.valid
    if blocks:
        trace.shares.append(Share(blocks, decoder.tables()))
    return tail


def _runs(done: list[Decoded]) -> Iterator[tuple[int, bytes, bool]]:
    """Unclear texts of neighbouring fragments, joined: (place, text, whether it reaches the end of the file)."""
    texts: list[bytes] = []
    place = 0
    for fragment in done:
        if fragment.before:
            place = place if texts else place_of(fragment.index, offset=-1)
            texts.append(fragment.before)
        if fragment.blocks:
            if texts:
                yield place, b",".join(texts), False
            texts, place = [], place_of(fragment.index, offset=1)
            texts += [fragment.after] if fragment.after else []
    if texts:
        yield place, b",".join(texts), True
