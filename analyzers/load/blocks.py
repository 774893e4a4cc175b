"""Blocks of the event array, decoded into columns.

A block is a run of whole events. Nearly all blocks are clean: every event has the form that exporters write, and its columns
are made without a look at a single event. The others are decoded again, with room for what may be odd about each.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load import records as r
from mmprof.analyzers.load.arguments import ArgumentReader
from mmprof.analyzers.load.times import MAX_NS, are_regular, nanoseconds, parse_column, parse_one

Timed = r.Complete | r.Instant


class _Unclean(Exception):  # noqa: N818  (no error: the block is read in another way)
    """A block has an event that has to be looked at."""


class Decoder:
    """Turns text or events into blocks; its code tables grow over all the blocks it makes.

    Attributes:
        unpadded: Whether times are written without leading zeros of the decimals (`times.looks_unpadded`).
        exact: Whether durations are checked and converted here, one by one; else clean blocks keep them as they are.
    """

    def __init__(self, *, unpadded: bool = False, exact: bool = True) -> None:
        self.unpadded, self.exact = unpadded, exact
        self._left_out: set[int] = set()
        self._names, self._categories, self._threads = k.Codes(), k.Codes(), k.Codes()
        self._arguments = ArgumentReader()
        self._clean = msgspec.json.Decoder(r.CLEAN_EVENTS)
        self._events = msgspec.json.Decoder(list[r.Event])

    def tables(self) -> k.Tables:
        """What the codes of all blocks so far stand for."""
        return k.Tables(
            names=list(self._names),
            categories=list(self._categories),
            threads=[(_in_64_bits(pid), _in_64_bits(tid)) for pid, tid in self._threads],
            calls=list(self._arguments.calls),
            shapes=list(self._arguments.shapes),
            collectives=list(self._arguments.collectives),
        )

    def decode(self, index: int, text: bytes) -> k.Block:
        """The block of `text`: events separated by commas.

        Raises:
            msgspec.MsgspecError: The text is not valid JSON, or an event is not of the expected form.
            RecursionError: An event is nested too deep.
        """
        array_text = b"[" + text + b"]"
        try:
            return self._clean_block(index, array_text)
        except (msgspec.ValidationError, _Unclean):
            return self.block(index, self._events.decode(array_text))

    def _clean_block(self, index: int, array_text: bytes) -> k.Block:
        """The block of events that all have the expected form.

        Raises:
            msgspec.ValidationError: One of them has not.
            _Unclean: One of them has no regular time.
        """
        if self.unpadded:
            raise _Unclean
        events = self._clean.decode(array_text)
        block = k.Block(index=index, events=len(events))
        positions = defaultdict[type, list[int]](list)
        for position, kind in enumerate(map(type, events)):
            positions[kind].append(position)
        for kind, found in positions.items():
            if (category := r.CLEAN_CATEGORIES.get(kind)) is None:
                block.kept_out["flow"] = block.kept_out.get("flow", 0) + len(found)
            else:
                self._add_clean(block, category, found, [events[p] for p in found])
        return block

    def _add_clean(
        self, block: k.Block, category: str, positions: list[int], rows: list[r.Clean]
    ) -> None:
        starts = parse_column([e.ts for e in rows])
        if not (starts and are_regular(starts)):
            raise _Unclean
        family, columns = k.family_of(category), self._columns(positions, rows, starts)
        self._add_durations([e.dur for e in rows], columns)
        columns.codes["category"] = array("I", [self._categories[category]]).tobytes() * len(rows)
        if self._arguments.reads(family):
            args = [e.args for e in rows]  # type: ignore[attr-defined]
            self._arguments.add(family, args, columns)
        k.merge(block.families.setdefault(family, k.Columns()), columns)

    def _add_durations(self, micros: list[float], columns: k.Columns) -> None:
        if not self.exact:
            columns.micros = array("d", micros).tobytes()
            return
        durs = nanoseconds(micros)
        if not (durs and _are_durations(durs)):
            raise _Unclean
        columns.ints["dur_ns"] = durs.tobytes()

    def _columns(
        self, positions: list[int], rows: Sequence[r.Clean | Timed], starts: array[int]
    ) -> k.Columns:
        """The columns that events of all families have, but for the category and the duration."""
        threads = self._encode_threads([e.pid for e in rows], [e.tid for e in rows])
        return k.Columns(
            codes={
                "event": array("I", positions).tobytes(),
                "name": k.encode(self._names, [e.name for e in rows]),
                "thread": threads,
            },
            ints={"start_ns": starts.tobytes()},
        )

    def _encode_threads(self, pids: list[int | str], tids: list[int | str]) -> bytes:
        """Codes of (pid, tid): nearly always there is one pid, and a tuple per event would be made for nothing."""
        if pids.count(pids[0]) < len(pids):
            return k.encode(self._threads, zip(pids, tids, strict=True))
        codes = {tid: self._threads[pids[0], tid] for tid in set(tids)}
        return array("I", map(codes.__getitem__, tids)).tobytes()

    def block(self, index: int, events: Sequence[r.Entry], mended: Iterable[int] = ()) -> k.Block:
        """The block of events of any form, of which those at the positions `mended` had to be repaired."""
        block = k.Block(index=index, events=len(events))
        repaired = set(mended)
        self._left_out.clear()
        by_category, flows, others = _group(events)
        if flows:
            block.kept_out["flow"] = flows
        for category, positions in by_category.items():
            repaired.update(self._add(block, k.family_of(category), positions, events))
        repaired.update(self._add(block, k.MEMORY, _place_others(block, others, events), events))
        if analyzed := repaired - self._left_out:
            k.count_note(block, "MM-N014", len(analyzed))
        return block

    def _add(
        self, block: k.Block, family: str, positions: list[int], events: Sequence[r.Entry]
    ) -> list[int]:
        """Add events to the columns of their family; the positions of those whose arguments had to be repaired."""
        rows: list[Timed] = [events[p] for p in positions]  # type: ignore[misc]
        positions, rows, starts, durs = self._times(block, positions, rows)
        if not rows:
            return []
        columns = self._columns(positions, rows, starts)
        columns.ints["dur_ns"] = durs.tobytes()
        columns.codes["category"] = k.encode(self._categories, [e.cat for e in rows])
        repaired = self._arguments.add_raw(family, [e.args for e in rows], columns)
        k.merge(block.families.setdefault(family, k.Columns()), columns)
        return [positions[row] for row in repaired]

    def _times(
        self, block: k.Block, positions: list[int], rows: list[Timed]
    ) -> tuple[list[int], list[Timed], array[int], array[int]]:
        """Start and duration in nanoseconds; rows without a readable time are left out and counted."""
        starts = parse_column([e.ts for e in rows], unpadded=self.unpadded)
        durs = parse_column([e.dur for e in rows], unpadded=self.unpadded)
        if starts and durs and are_regular(starts) and _are_durations(durs):
            return positions, rows, starts, durs
        return self._irregular_times(block, positions, rows)

    def _irregular_times(
        self, block: k.Block, positions: list[int], rows: list[Timed]
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
            elif (dur := self._duration(block, event)) >= k.MAX_DUR_NS:
                self._leave_out(block, position, "MM-N013")
            else:
                kept[0].append(position)
                kept[1].append(event)
                kept[2].append(start)
                kept[3].append(dur)
        return kept

    def _leave_out(self, block: k.Block, position: int, code: str) -> None:
        k.count_note(block, code)
        self._left_out.add(position)

    def _duration(self, block: k.Block, event: Timed) -> int:
        """Nanoseconds, 0 where missing or negative (counted)."""
        if isinstance(event, r.Instant):
            return 0
        dur = parse_one(bytes(event.dur), unpadded=self.unpadded)
        if dur is None or dur < 0:
            k.count_note(block, "MM-N012")
            return 0
        return dur


def _group(events: Sequence[r.Entry]) -> tuple[dict[str, list[int]], int, list[int]]:
    """Positions of complete events by category, the number of flows, and positions of the rest."""
    by_category = defaultdict[str, list[int]](list)
    flows, others = 0, list[int]()
    for position, event in enumerate(events):
        if isinstance(event, r.Complete):
            by_category[event.cat].append(position)
        elif isinstance(event, r.FlowStart | r.FlowEnd):
            flows += 1
        else:
            others.append(position)
    return by_category, flows, others


def _place_others(block: k.Block, positions: list[int], events: Sequence[r.Entry]) -> list[int]:
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


def _are_durations(durs: array[int]) -> bool:
    """Whether all durations are within what tables hold."""
    return min(durs) >= 0 and max(durs) < k.MAX_DUR_NS
