"""The events of a trace as columns, read by one process or several."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import blocks as b
from mmprof.analyzers.load import repair
from mmprof.analyzers.load.layout import Fragment, Head, metadata_of, split
from mmprof.analyzers.load.source import Source, plain_size_hint
from mmprof.analyzers.load.worker import LENGTH_BYTES, Decoded, Failed, Finished, Message, decode_fragment

PARALLEL_FROM_BYTES: Final = 48 << 20
MAX_PROCESSES: Final = 4
_MESSAGE: Final = msgspec.msgpack.Decoder(Message)


@dataclass
class Share:
    """The blocks of one decoder and what their codes stand for."""

    blocks: list[b.Block]
    tables: b.Tables


@dataclass
class RawTrace:
    """A trace as read: everything that is known before tables are built.

    Attributes:
        shares: Decoded blocks by decoder; block indices give the order in the file.
        metadata: Everything in the document beside the events.
        salvaged: Whether the event array had no end: only what came before is here.
        counts: Events per note code that were mended or skipped.
        kept_out: Events per phase that no table keeps.
        labels: Metadata events as (what, pid, tid, label).
        events: Number of events.
    """

    source: Source
    shares: list[Share] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    salvaged: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    kept_out: dict[str, int] = field(default_factory=dict)
    labels: list[tuple[str, int | str, int | str, str]] = field(default_factory=list)
    events: int = 0


def read(name: str, *, processes: int | None = None) -> RawTrace:
    """Read a trace file, or standard input for `-`.

    Args:
        name: Path of the trace, or `-`.
        processes: Number of decoding processes; None decides by the size of the file.

    Raises:
        MmprofError: The input cannot be read as a trace at all.
    """
    count = processes or _processes_for(name)
    source = Source(name)
    with _collector_off():
        return _read_parallel(source, count) if count > 1 else _read_here(source)


def _processes_for(name: str) -> int:
    if name == "-" or not Path(name).is_file():
        return 1
    if plain_size_hint(Path(name)) < PARALLEL_FROM_BYTES:
        return 1
    return min(_cores(), MAX_PROCESSES)


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
    decoder, done = b.Decoder(), []
    parts = split(source)
    head = next(parts)
    for part in parts:
        if isinstance(part, Fragment):
            done.append(decode_fragment(decoder, part))
    trace = RawTrace(source)
    _assemble(trace, _checked(head, source), [(decoder.tables(), done)])
    return trace


def _read_parallel(source: Source, count: int) -> RawTrace:
    head = _checked(next(split(Source(source.name))), source)
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(_receive, source.name, index, count) for index in range(count)]
        importlib.import_module("polars")  # 0.3 s that this process would otherwise spend alone, afterwards
        results = [w.result() for w in waiting]
    if any(r is None for r in results):  # a process could not be started or was killed: read without
        return _read_here(source)
    shares = [r for r in results if r is not None]
    facts = shares[0][0]
    source.adopt(facts.sha256, facts.read_bytes, facts.plain_bytes, facts.cut)
    trace = RawTrace(source)
    _assemble(trace, head, [(finished.tables, decoded) for finished, decoded in shares])
    return trace


def _receive(name: str, index: int, count: int) -> tuple[Finished, list[Decoded]] | None:
    """Run one decoding process and collect what it sends; None if it did not finish."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from mmprof.analyzers.load.worker import main; main({name!r}, {index}, {count})"
    )
    decoded: list[Decoded] = []
    try:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # noqa: S603
    except OSError:
        return None
    with process:
        assert process.stdout is not None
        for message in _messages(process.stdout):
            if isinstance(message, Failed):
                raise MmprofError(message.code, message.message, found=message.found, hint=message.hint)
            if isinstance(message, Finished):
                return message, decoded
            decoded.append(message)
    return None


def _messages(pipe: IO[bytes]) -> Iterator[Message]:
    while len(length := pipe.read(LENGTH_BYTES)) == LENGTH_BYTES:
        yield _MESSAGE.decode(pipe.read(int.from_bytes(length, "little")))


def _checked(head: Head | Fragment, source: Source) -> bytes:
    """The text before the event array.

    Raises:
        MmprofError: There is no event array.
    """
    assert isinstance(head, Head)
    if head.found:
        return head.text
    raise no_trace(source, head.text)


def no_trace(source: Source, text: bytes) -> MmprofError:
    """The error for input in which no event array was found."""
    start = text[:40].decode("utf-8", "replace").strip()
    if source.cut and not text.strip():
        return MmprofError(
            "MM-E009", f"{source.name} holds nothing readable", found=source.cut, hint="copy or record the file again"
        )
    if not start.startswith("{"):
        return MmprofError(
            "MM-E003",
            f"{source.name} is not JSON",
            found=f"it starts with {start!r}" if start else "only blanks",
            hint="give a trace exported by torch.profiler (.json, .json.gz or .json.zst)",
        )
    keys = ", ".join(sorted(map(repr, metadata_of(text, b"")))[:8])
    return MmprofError(
        "MM-E004",
        f"{source.name} is JSON, but no trace: it has no list `traceEvents`",
        found=f"the keys {keys}" if keys else f"{len(text):,} bytes that start with {start!r}",
        hint="export with prof.export_chrome_trace(...)",
    )


def _assemble(trace: RawTrace, head: bytes, shares: list[tuple[b.Tables, list[Decoded]]]) -> None:
    trace.shares = [Share([k for d in done for k in d.blocks], tables) for tables, done in shares]
    done = sorted((d for _, decoded in shares for d in decoded), key=lambda d: d.index)
    tail = next((d.tail for d in done if d.tail is not None), None)
    careful = _salvage_runs(trace, done)
    tail = careful if tail is None else tail
    trace.salvaged = tail is None
    trace.metadata = metadata_of(head, tail or b"")
    _number_events(trace)


def _number_events(trace: RawTrace) -> None:
    """Give each block the position of its first event, and gather what the blocks counted."""
    for block in sorted((k for share in trace.shares for k in share.blocks), key=lambda k: k.index):
        block.first_event = trace.events
        trace.events += block.events
        trace.labels += block.labels
        for counts, more in ((trace.kept_out, block.kept_out), (trace.counts, block.notes)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count


def _salvage_runs(trace: RawTrace, done: list[Decoded]) -> bytes | None:
    """Read the fragments that came back as text; what follows the event array, if its end was in one of them."""
    decoder, blocks, tail = b.Decoder(), [], None
    for run in _runs(done):
        if tail is not None:
            break
        found = repair.salvage(b",".join(d.text for d in run))
        blocks.append(decoder.block(run[0].index, found.events))
        for code, count in found.counts.items():
            trace.counts[code] = trace.counts.get(code, 0) + count
        tail = found.tail if found.ended else None
    if blocks:
        trace.shares.append(Share(blocks, decoder.tables()))
    return tail


def _runs(done: list[Decoded]) -> Iterator[list[Decoded]]:
    """Neighbouring fragments that came back as text: a wrong cut between two of them is mended by joining."""
    run: list[Decoded] = []
    for fragment in done:
        if fragment.text:
            run.append(fragment)
        elif run:
            yield run
            run = []
    if run:
        yield run
