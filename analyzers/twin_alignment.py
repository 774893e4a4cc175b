"""Where the kernels of a graph replay stand in the twin: equal names in an equal order, and nothing that two places dispute.

Sequences of kernels are strings, one character a kernel name, so that a run of thousands is found at the speed of a
substring search. A replay stands where its whole sequence does. Where that is in several places, launch shapes decide, then
the longest equal run of names that includes what was launched before and after it; places that are left must give each
kernel the same operators and modules, or the kernel stays without. A replay that is nowhere as a whole is aligned in runs.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeAlias

NOWHERE: Final = -1

# A run of fewer kernels occurs by chance: most layers have two elementwise kernels in a row somewhere.
MIN_RUN: Final = 8
# Kernels before and after a replay that are compared: where each piece of a layer is a graph, one end of the step must be
# within reach to know which layer it is.
CONTEXT: Final = 2048
# What limits the time on unusual input; beyond it kernels stay without an operator.
MAX_PLACES: Final = 10_000
MAX_WINDOWS: Final = 64
MAX_RUNS: Final = 256
MAX_ALIGNED_IN_RUNS: Final = 64


@dataclass(frozen=True)
class TwinKernels:
    """The kernels of the twin in the order of their launches.

    Attributes:
        names: One character a kernel; one that no replay has where no kernel may be aligned.
        paths: The operators and modules around each, numbered; 0 for none.
        calls: The arguments of these operators, numbered.
        shapes: The grid and block of each, numbered; 0 where they are not known.
    """

    names: str
    paths: array[int]
    calls: array[int]
    shapes: array[int]

    def content(self, start: int, end: int) -> tuple[bytes, bytes]:
        """What a stretch says of its kernels: equal for two stretches that say the same."""
        return _codes(self.paths, start, end), _codes(self.calls, start, end)


class Replay(NamedTuple):
    """The kernels of one graph launch: a part of all kernels in the order of their launches.

    Attributes:
        names: All kernels of the trace, numbered like the twin's.
        shapes: Their grids and blocks, numbered like the twin's.
        start: Position of the first kernel of the replay.
        end: Position after the last.
    """

    names: str
    shapes: array[int]
    start: int
    end: int


class Placement(NamedTuple):
    """Where the kernels of a replay stand.

    Attributes:
        places: Position in the twin, `NOWHERE` for a kernel that is not aligned.
        same_call: Whether all places that a kernel might have had show the same arguments.
    """

    places: tuple[int, ...]
    same_call: tuple[bool, ...]

    @property
    def aligned(self) -> int:
        """Number of kernels that are aligned."""
        return len(self.places) - self.places.count(NOWHERE)


class _Stands(NamedTuple):
    """Where a sequence stands in the twin, and whether all these places say the same of each kernel."""

    starts: list[int]
    alike: bool


_Key: TypeAlias = "tuple[str, bytes]"


@dataclass
class Aligner:
    """Aligns replays with one twin; replays of one graph in one surrounding are aligned once."""

    twin: TwinKernels
    _stands: dict[_Key, _Stands] = field(default_factory=dict[_Key, "_Stands"])
    _agreed: dict[tuple[_Key, tuple[str, str]], Placement] = field(
        default_factory=dict[tuple[_Key, tuple[str, str]], Placement]
    )
    _in_runs: dict[str, Placement] = field(default_factory=dict[str, Placement])

    def whole(self, replay: Replay) -> Placement | None:
        """The placement of a replay whose names stand in the twin one after the other; None where they do not."""
        key = (
            replay.names[replay.start : replay.end],
            _codes(replay.shapes, replay.start, replay.end),
        )
        if key not in self._stands:
            self._stands[key] = self._places_of(*key)
        starts, _ = self._stands[key]
        if len(starts) > MAX_PLACES:
            return _nowhere(replay.end - replay.start)
        return self._settled(key, replay) if starts else None

    def in_runs(self, replay: Replay) -> Placement:
        """The placement of the runs of a replay that stand in the twin in the same order."""
        names = replay.names[replay.start : replay.end]
        if names not in self._in_runs:
            tried = len(self._in_runs) < MAX_ALIGNED_IN_RUNS
            self._in_runs[names] = _by_runs(names, self.twin) if tried else _nowhere(len(names))
        return self._in_runs[names]

    def _places_of(self, names: str, shapes: bytes) -> _Stands:
        """Where the names are, and of these places the ones with the same launch shapes where there are any."""
        starts, length = occurrences(self.twin.names, names, most=MAX_PLACES + 1), len(names)
        same = [s for s in starts if _codes(self.twin.shapes, s, s + length) == shapes]
        kept = same if any(shapes) and same else starts
        return _Stands(kept, len({self.twin.content(s, s + length) for s in kept}) == 1)

    def _settled(self, key: _Key, replay: Replay) -> Placement:
        starts, alike = self._stands[key]
        around = ("", "") if alike else _around(replay)
        known = self._agreed.get((key, around))
        if known is None:
            length = len(key[0])
            kept = starts if alike else self._in_context(starts, length, around)
            distinct = _first_of_alike(kept, length, self.twin)
            known = agreed([range(s, s + length) for s in distinct], self.twin)
            self._agreed[key, around] = known
        return known

    def _in_context(self, starts: list[int], length: int, around: tuple[str, str]) -> list[int]:
        """The places with the longest equal run around them; all, where that is so short that it may be chance."""
        before, after = around
        runs = [
            _largest(len(before), partial(_ends, self.twin.names, before, start))
            + length
            + _largest(len(after), partial(_begins, self.twin.names, after, start + length))
            for start in starts
        ]
        longest = max(runs)
        if longest < MIN_RUN:
            return starts
        return [start for start, run in zip(starts, runs, strict=True) if run == longest]


def agreed(candidates: Sequence[Sequence[int]], twin: TwinKernels) -> Placement:
    """What all candidates say: the first one's place of each kernel, if the operators and modules of all are the same.

    Args:
        candidates: Of each the places of all kernels.
        twin: The kernels that the places are of.
    """
    first, others = candidates[0], candidates[1:]
    places = [
        place
        if place != NOWHERE and twin.paths[place] and _same(twin.paths, place, at, others)
        else NOWHERE
        for at, place in enumerate(first)
    ]
    return Placement(
        tuple(places),
        tuple(p == NOWHERE or _same(twin.calls, p, at, others) for at, p in enumerate(places)),
    )


def _first_of_alike(starts: Sequence[int], length: int, twin: TwinKernels) -> list[int]:
    """Of stretches that say the same the first one."""
    found: dict[tuple[bytes, bytes], int] = {}
    for start in starts:
        found.setdefault(twin.content(start, start + length), start)
    return list(found.values())


def _same(codes: array[int], place: int, at: int, others: Sequence[Sequence[int]]) -> bool:
    return all(other[at] != NOWHERE and codes[other[at]] == codes[place] for other in others)


def occurrences(text: str, part: str, *, most: int) -> list[int]:
    """Where a part begins in a text, overlaps included; at most so many."""
    found: list[int] = []
    at = text.find(part)
    while at >= 0 and len(found) < most:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def in_order(names: str, text: str) -> list[int]:
    """The place of each name in a text, from the left: the longest run that goes on, wherever it is next.

    A run has at least `MIN_RUN` names. Between two runs that are as far from each other in the text as in the names, equal
    names in equal places count as well: something was replaced there.
    """
    found = [NOWHERE] * len(names)
    at = last = after = 0
    while at < len(names):
        length = longest_prefix(names, at, text, after)
        if length < MIN_RUN:
            at += 1
            continue
        place = text.find(names[at : at + length], after)
        if last and place - after == at - last:
            pairs = zip(range(last, at), range(after, place), strict=True)
            found[last:at] = [p if names[i] == text[p] else NOWHERE for i, p in pairs]
        found[at : at + length] = range(place, place + length)
        last, after = at + length, place + length
        at = last
    return found


def longest_prefix(names: str, at: int, text: str, after: int) -> int:
    """The length of the longest run of names from a position on that is in a text after a position; 0 below `MIN_RUN`."""
    found = partial(_found_after, names, at, text, after)
    return _largest(len(names) - at, found, least=MIN_RUN)


def _found_after(names: str, at: int, text: str, after: int, length: int) -> bool:
    return text.find(names[at : at + length], after) >= 0


def _by_runs(names: str, twin: TwinKernels) -> Placement:
    """Align names that are not in the twin as a whole: from the left and from the right, in all stretches like theirs."""
    begin, length = _longest_run(names, twin.names)
    if length < MIN_RUN:
        return _nowhere(len(names))
    stretches = _stretches(names, begin, length, twin.names)
    if not 0 < len(stretches) <= MAX_WINDOWS:
        return _nowhere(len(names))
    found = {text: (in_order(names, text), _from_the_right(names, text)) for text in stretches}
    best = max(_matched(left) for left, _ in found.values())
    candidates = [
        [NOWHERE if place == NOWHERE else place + start for place in side]
        for text, sides in found.items()
        if _matched(sides[0]) == best
        for start in _first_of_alike(stretches[text], len(text), twin)
        for side in sides
    ]
    return agreed(candidates, twin)


def _stretches(names: str, begin: int, length: int, text: str) -> dict[str, list[int]]:
    """The different parts of a text around a run of names, each with the positions where it begins."""
    slack = MIN_RUN + len(names) // 4
    places = occurrences(text, names[begin : begin + length], most=MAX_PLACES)
    found: dict[str, list[int]] = {}
    for place in places:
        start = max(0, place - begin - slack)
        end = place - begin + len(names) + slack
        if len(found) <= MAX_WINDOWS:
            found.setdefault(text[start:end], []).append(start)
    return found


def _from_the_right(names: str, text: str) -> list[int]:
    last = len(text) - 1
    mirrored = in_order(names[::-1], text[::-1])
    return [NOWHERE if place == NOWHERE else last - place for place in reversed(mirrored)]


def _matched(places: Sequence[int]) -> int:
    return len(places) - places.count(NOWHERE)


def _longest_run(names: str, text: str) -> tuple[int, int]:
    """Where the longest run begins that is in a text, and its length, among those that follow each other."""
    best = (0, 0)
    at = 0
    for _ in range(MAX_RUNS):
        if at >= len(names):
            break
        length = longest_prefix(names, at, text, 0)
        best = max(best, (at, length), key=lambda run: run[1])
        at += max(length, 1)
    return best


def _around(replay: Replay) -> tuple[str, str]:
    names, start, end = replay.names, replay.start, replay.end
    return names[max(0, start - CONTEXT) : start], names[end : end + CONTEXT]


def _ends(text: str, run: str, at: int, length: int) -> bool:
    """Whether the last names of a run stand before a position of a text."""
    return text.endswith(run[-length:], 0, at)


def _begins(text: str, run: str, at: int, length: int) -> bool:
    """Whether the first names of a run stand at a position of a text."""
    return text.startswith(run[:length], at)


def _largest(most: int, holds: Callable[[int], bool], *, least: int = 1) -> int:
    """The largest number up to `most` that a condition holds for, which it does below a limit; 0 if not for `least`."""
    low, high = 0, least
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1) if low else 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _codes(codes: array[int], start: int, end: int) -> bytes:
    return codes[start:end].tobytes()


def _nowhere(count: int) -> Placement:
    return Placement((NOWHERE,) * count, (True,) * count)
