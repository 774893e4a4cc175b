"""Blocks of the event array, decoded into columns.

A block is a run of whole events. Its columns are plain arrays, so that a block can cross a process boundary as bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.load import records as r
from mmprof.analyzers.load.layout import DAMAGE
from mmprof.analyzers.load.times import MAX_NS, parse_column, parse_one

NULL: Final = -(2**63)
MAX_DUR_NS: Final = 10**15

HOST: Final = "host"
OPERATOR: Final = "operator"
LAUNCH: Final = "launch"
ACTIVITY: Final = "activity"
SYNC: Final = "sync"
OTHER: Final = "other"
MEMORY: Final = "memory"

_FAMILY_OF_KIND: Final = {
    c.OPERATOR: OPERATOR,
    c.ANNOTATION: HOST,
    c.PYTHON: HOST,
    c.RUNTIME: LAUNCH,
    c.DRIVER: LAUNCH,
    c.KERNEL: ACTIVITY,
    c.MEMCPY: ACTIVITY,
    c.MEMSET: ACTIVITY,
    c.DEVICE_ANNOTATION: ACTIVITY,
    c.SYNC: SYNC,
    c.OVERHEAD: OTHER,
    c.MEMORY: MEMORY,
    c.OTHER: OTHER,
}

Call = tuple[str, str, str, str, str, str]
Shape = tuple[str, str]
Collective = tuple[str, str, int, int, int]
Thread = tuple[int | str, int | str]
NO_CALL: Final[Call] = ("", "", "", "", "", "")

T = TypeVar("T", bound=Struct)
Timed = r.Clean | r.Complete | r.Instant


class Codes(dict[Any, int]):
    """Codes of distinct values, in order of appearance."""

    def __missing__(self, value: object) -> int:
        code = self[value] = len(self)
        return code


class Tables(Struct):
    """What the codes of a decoder's columns stand for."""

    names: list[str] = []
    categories: list[str] = []
    threads: list[Thread] = []
    calls: list[Call] = []
    shapes: list[Shape] = []
    collectives: list[Collective] = []


class Columns(Struct):
    """Columns of one family: `codes` are uint32, `ints` are int64 with NULL where the event has no value."""

    codes: dict[str, bytes] = {}
    ints: dict[str, bytes] = {}


class Block(Struct):
    """A decoded run of events.

    Attributes:
        index: Its place among the blocks of the file; blocks of the same place keep their order.
        events: Number of events in it, of any phase.
        families: Columns per family of events.
        kept_out: Number of events that no table keeps, per phase or category.
        notes: Number of repaired or skipped events per note code.
        labels: Metadata events as (what, pid, tid, label).
        first_event: Position of its first event in the file, once all blocks are known.
    """

    index: int
    events: int
    first_event: int = 0
    families: dict[str, Columns] = {}
    kept_out: dict[str, int] = {}
    notes: dict[str, int] = {}
    labels: list[tuple[str, int | str, int | str, str]] = []


class Decoder:
    """Turns text or events into blocks; its code tables grow over all the blocks it makes.

    Attributes:
        unpadded: Whether times are written without leading zeros of the decimals (`times.looks_unpadded`).
    """

    def __init__(self, *, unpadded: bool = False) -> None:
        self.unpadded = unpadded
        self._left_out: set[int] = set()
        self._names, self._categories, self._threads = Codes(), Codes(), Codes()
        self._calls, self._shapes, self._collectives = Codes({NO_CALL: 0}), Codes(), Codes()
        self._clean = msgspec.json.Decoder(list[r.CleanEvent])
        self._events = msgspec.json.Decoder(list[r.Event])
        self._readers: dict[str, Callable[[list[r.Args], Columns], None]] = {
            OPERATOR: self._read_operators,
            LAUNCH: self._read_launches,
            ACTIVITY: self._read_activities,
            SYNC: _read_syncs,
        }

    def tables(self) -> Tables:
        """What the codes of all blocks so far stand for."""
        return Tables(
            names=list(self._names),
            categories=list(self._categories),
            threads=[(_in_64_bits(pid), _in_64_bits(tid)) for pid, tid in self._threads],
            calls=list(self._calls),
            shapes=list(self._shapes),
            collectives=list(self._collectives),
        )

    def decode(self, index: int, text: bytes) -> Block:
        """The block of `text`: events separated by commas.

        Raises:
            msgspec.MsgspecError: The text is not valid JSON, or an event is not of the expected form.
            RecursionError: An event is nested too deep.
        """
        array_text = b"[" + text + b"]"
        try:
            events = self._clean.decode(array_text)
        except msgspec.ValidationError:
            return self.block(index, self._events.decode(array_text))
        if _MEMORY_SPAN in text and any(
            isinstance(e, r.Clean) and e.cat == _MEMORY_CATEGORY for e in events
        ):
            return self.block(index, self._events.decode(array_text))
        return self.block(index, events)

    def block(self, index: int, events: Sequence[r.Entry], mended: Iterable[int] = ()) -> Block:
        """The block of decoded events, of which those at the positions `mended` had to be repaired."""
        block = Block(index=index, events=len(events))
        repaired = set(mended)
        self._left_out.clear()
        by_category, flows, others = _group(events)
        if flows:
            block.kept_out["flow"] = flows
        for category, positions in by_category.items():
            repaired.update(
                self._add(block, _FAMILY_OF_KIND[c.kind_of(category)], positions, events)
            )
        repaired.update(self._add(block, MEMORY, _place_others(block, others, events), events))
        if analyzed := repaired - self._left_out:
            count_note(block, "MM-N014", len(analyzed))
        return block

    def _add(
        self, block: Block, family: str, positions: list[int], events: Sequence[r.Entry]
    ) -> list[int]:
        """Add events to the columns of their family; the positions of those whose arguments had to be repaired."""
        rows: list[Timed] = [events[p] for p in positions]  # type: ignore[misc]
        positions, rows, starts, durs = self._times(block, positions, rows)
        if not rows:
            return []
        columns = Columns()
        columns.codes["event"] = array("I", positions).tobytes()
        columns.codes["category"] = _encode(self._categories, [e.cat for e in rows])
        columns.codes["name"] = _encode(self._names, [e.name for e in rows])
        columns.codes["thread"] = self._encode_threads([e.pid for e in rows], [e.tid for e in rows])
        columns.ints["start_ns"] = starts.tobytes()
        columns.ints["dur_ns"] = durs.tobytes()
        repaired = self._add_arguments(family, rows, columns)
        merge(block.families.setdefault(family, Columns()), columns)
        return [positions[row] for row in repaired]

    def _add_arguments(self, family: str, rows: list[Timed], columns: Columns) -> list[int]:
        """Add the columns of the arguments; the rows whose arguments had to be repaired."""
        if family == MEMORY:
            read, repaired = _decode_args(
                _MEMORY_ARGS, [e.args for e in rows if not isinstance(e, r.Clean)]
            )
            _read_memory(read, columns)
            return repaired
        if (reader := self._readers.get(family)) is None:
            return []
        if isinstance(rows[0], r.Clean):
            args, repaired = [e.args for e in rows if isinstance(e, r.Clean)], []
        else:
            args, repaired = _decode_args(
                _ARGS, [e.args for e in rows if not isinstance(e, r.Clean)]
            )
        reader(args, columns)
        return repaired

    def _encode_threads(self, pids: list[int | str], tids: list[int | str]) -> bytes:
        """Codes of (pid, tid): nearly always there is one pid, and a tuple per event would be made for nothing."""
        if len(set(pids)) > 1:
            return _encode(self._threads, zip(pids, tids, strict=True))
        codes = {tid: self._threads[pids[0], tid] for tid in set(tids)}
        return array("I", map(codes.__getitem__, tids)).tobytes()

    def _times(
        self, block: Block, positions: list[int], rows: list[Timed]
    ) -> tuple[list[int], list[Timed], array[int], array[int]]:
        """Start and duration in nanoseconds; rows without a readable time are left out and counted."""
        starts = parse_column([e.ts for e in rows], unpadded=self.unpadded)
        durs = parse_column([e.dur for e in rows], unpadded=self.unpadded)
        if starts and durs and _within(starts, -MAX_NS, MAX_NS) and _within(durs, -1, MAX_DUR_NS):
            return positions, rows, starts, durs
        return self._irregular_times(block, positions, rows)

    def _irregular_times(
        self, block: Block, positions: list[int], rows: list[Timed]
    ) -> tuple[list[int], list[Timed], array[int], array[int]]:
        kept: tuple[list[int], list[Timed], array[int], array[int]] = (
            [],
            [],
            array("q"),
            array("q"),
        )
        for position, event in zip(positions, rows, strict=True):
            start = parse_one(bytes(event.ts), unpadded=self.unpadded)
            if start is None or abs(start) >= MAX_NS:
                self._leave_out(block, position, "MM-N011")
            elif (dur := self._duration(block, event)) >= MAX_DUR_NS:
                self._leave_out(block, position, "MM-N013")
            else:
                kept[0].append(position)
                kept[1].append(event)
                kept[2].append(start)
                kept[3].append(dur)
        return kept

    def _leave_out(self, block: Block, position: int, code: str) -> None:
        count_note(block, code)
        self._left_out.add(position)

    def _duration(self, block: Block, event: Timed) -> int:
        """Nanoseconds, 0 where missing or negative (counted)."""
        if isinstance(event, r.Instant):
            return 0
        dur = parse_one(bytes(event.dur), unpadded=self.unpadded)
        if dur is None or dur < 0:
            count_note(block, "MM-N012")
            return 0
        return dur

    def _read_operators(self, args: list[r.Args], columns: Columns) -> None:
        columns.ints["sequence"] = _whole([a.sequence for a in args])
        columns.ints["forward_thread"] = _whole([a.forward_thread for a in args])
        columns.codes["call"] = _encode(self._calls, map(_call_of, args))

    def _read_launches(self, args: list[r.Args], columns: Columns) -> None:
        columns.ints["correlation"] = _whole([a.correlation for a in args])

    def _read_activities(self, args: list[r.Args], columns: Columns) -> None:
        columns.ints["correlation"] = _whole([a.correlation for a in args])
        columns.ints["stream"] = _whole([a.stream for a in args])
        columns.ints["device"] = _whole([a.device for a in args])
        columns.ints["bytes"] = _whole([a.bytes for a in args])
        columns.ints["graph_node"] = _whole([a.graph_node for a in args])
        columns.ints["occupancy_percent"] = _whole([a.occupancy for a in args])
        columns.codes["shape"] = _encode(
            self._shapes, [(_text(a.grid), _text(a.block)) for a in args]
        )
        columns.codes["collective"] = _encode(self._collectives, map(_collective_of, args))


_EMPTY: Final = Raw(b"{}")
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ARGS: Final = msgspec.json.Decoder(list[r.Args])
_MEMORY_ARGS: Final = msgspec.json.Decoder(list[r.MemoryArgs])


def merge(into: Columns, other: Columns) -> None:
    """Append the rows of `other` to `into`; both are of one family and so have the same columns."""
    for name, data in other.codes.items():
        into.codes[name] = into.codes.get(name, b"") + data
    for name, data in other.ints.items():
        into.ints[name] = into.ints.get(name, b"") + data


def count_note(block: Block, code: str, count: int = 1) -> None:
    """Count a repaired or skipped event under its note code."""
    block.notes[code] = block.notes.get(code, 0) + count


_FEW: Final = 16
_COUNTED: Final = frozenset((r.Clean, r.Complete, r.FlowStart, r.FlowEnd))
# the Python exporter writes `[memory]` as complete events, whose arguments have other names
_MEMORY_CATEGORY: Final = "cpu_instant_event"
_MEMORY_SPAN: Final = _MEMORY_CATEGORY.encode()


def _group(events: Sequence[r.Entry]) -> tuple[dict[str, list[int]], int, list[int]]:
    """Positions of complete events by category, the number of flows, and positions of the rest."""
    wanted_type = r.Clean if any(type(e) is r.Clean for e in events) else r.Complete
    complete = [p for p, e in enumerate(events) if type(e) is wanted_type]
    categories = [events[p].cat for p in complete]  # type: ignore[union-attr]
    by_category: dict[str, list[int]] = {category: [] for category in dict.fromkeys(categories)}
    if len(by_category) <= _FEW:
        # a pass for each of the few categories is cheaper than a look-up for each of the many events
        for wanted, found in by_category.items():
            found += [
                p for p, category in zip(complete, categories, strict=True) if category == wanted
            ]
    else:
        for position, category in zip(complete, categories, strict=True):
            by_category[category].append(position)
    if len(complete) == len(events):
        return by_category, 0, []
    others = [p for p, e in enumerate(events) if type(e) not in _COUNTED]
    return by_category, len(events) - len(complete) - len(others), others


def _place_others(block: Block, positions: list[int], events: Sequence[r.Entry]) -> list[int]:
    """Keep labels and count what no table keeps; the positions of memory events are returned."""
    memory = []
    for position in positions:
        event = events[position]
        if isinstance(event, r.Metadata):
            label = event.args.name or event.args.labels or ""
            block.labels.append((event.name, _in_64_bits(event.pid), _in_64_bits(event.tid), label))
        elif isinstance(event, r.Instant) and event.name == "[memory]":
            memory.append(position)
        elif not isinstance(event, r.Unread):
            phase = type(event).__name__.lower()
            block.kept_out[phase] = block.kept_out.get(phase, 0) + 1
    return memory


def _in_64_bits(row: int | str) -> int | str:
    """A process or thread id as other processes can read it."""
    return row if isinstance(row, str) or abs(row) < 2**63 else str(row)


def _within(values: array[int], above: int, below: int) -> bool:
    return above < min(values) and max(values) < below


def _decode_args(
    decoder: msgspec.json.Decoder[list[T]], raw: list[Raw]
) -> tuple[list[T], list[int]]:
    """The arguments of the events, and which of them have a field of a wrong type, which is ignored."""
    present = [_EMPTY if a is r.ABSENT else a for a in raw]
    try:
        return decoder.decode(b"[" + b",".join(present) + b"]"), []
    except DAMAGE:
        read = [_one_args(decoder, a) for a in present]
    return [args for args, _ in read], [row for row, (_, repaired) in enumerate(read) if repaired]


def _one_args(decoder: msgspec.json.Decoder[list[T]], raw: Raw) -> tuple[T, bool]:
    """The arguments of one event without the fields of a wrong type, and whether there were any."""
    if (args := _args_or_none(decoder, bytes(raw))) is not None:
        return args, False
    try:
        fields = _FIELDS.decode(raw)
    except DAMAGE:
        fields = {}
    single = (msgspec.json.encode({name: value}) for name, value in fields.items())
    good = b",".join(text[1:-1] for text in single if _args_or_none(decoder, text) is not None)
    return decoder.decode(b"[{" + good + b"}]")[0], bytes(raw) != b"null"


def _args_or_none(decoder: msgspec.json.Decoder[list[T]], text: bytes) -> T | None:
    try:
        return decoder.decode(b"[" + text + b"]")[0]
    except DAMAGE:
        return None


def _encode(codes: Codes, values: Iterable[object]) -> bytes:
    return array("I", map(codes.__getitem__, values)).tobytes()


def _whole(values: list[r.Number]) -> bytes:
    """int64 column of the values that are whole numbers, NULL for the others."""
    column = [v if type(v) is int else NULL if v is None else _whole_or_null(v) for v in values]
    try:
        return array("q", column).tobytes()
    except OverflowError:  # `Comms Id` and damaged ids are up to uint64 and beyond
        return array("q", [v if -(2**63) < v < 2**63 else NULL for v in column]).tobytes()


def _whole_or_null(value: float | str) -> int:
    try:
        whole = int(value, 0) if isinstance(value, str) else int(value)
    except (ValueError, OverflowError):
        return NULL
    return whole if isinstance(value, str) or whole == value else NULL


def _text(raw: Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _call_of(args: r.Args) -> Call:
    if args.dims is r.ABSENT and args.types is r.ABSENT and args.dims_2021 is r.ABSENT:
        return NO_CALL
    return (
        _text(args.dims) or _text(args.dims_2021),
        _text(args.types),
        _text(args.strides),
        _text(args.concrete),
        _text(args.kernel_backend),
        _text(args.kernel_kwargs),
    )


def _collective_of(args: r.Args) -> Collective:
    if args.collective is None:
        return ("", "", 0, 0, 0)
    sizes = (args.in_elements, args.out_elements, args.group_size)
    whole = [v if type(v) is int and abs(v) < 2**63 else 0 for v in sizes]
    return (str(args.collective), str(args.element_type or ""), whole[0], whole[1], whole[2])


def _read_syncs(args: list[r.Args], columns: Columns) -> None:
    columns.ints["correlation"] = _whole([a.correlation for a in args])
    columns.ints["stream"] = _whole([a.stream for a in args])
    columns.ints["device"] = _whole([a.device for a in args])
    columns.ints["wait_on_stream"] = _whole([a.wait_on_stream for a in args])
    columns.ints["wait_on_correlation"] = _whole([a.wait_on_correlation for a in args])


def _read_memory(args: list[r.MemoryArgs], columns: Columns) -> None:
    columns.ints["address"] = _whole([a.address for a in args])
    columns.ints["bytes"] = _whole([a.bytes for a in args])
    columns.ints["total_allocated"] = _whole([a.total_allocated for a in args])
    columns.ints["total_reserved"] = _whole([a.total_reserved for a in args])
    columns.ints["device_type"] = _whole([a.device_type for a in args])
    columns.ints["device"] = _whole([a.device for a in args])
