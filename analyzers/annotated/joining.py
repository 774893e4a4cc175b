"""Several inputs on one time line: the ranks of a run by their clocks, two sides by the starts of their windows.

Processes get new numbers, because two inputs may both have a process 0, and flows get new ids.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.analyses.phases import OTHER
from mmprof.analyzers.annotated.encoding import Row, arrow_events, rows_of
from mmprof.analyzers.annotated.tracks import PHASES, STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmprof.analyzers.annotated.recorded import Recorded

BEFORE: Final = "before"
AFTER: Final = "after"

_PIDS_OF_AN_INPUT: Final = 1_000_000
_PIDS_OF_TRACKS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Placed:
    """An input with its place in a file of several.

    Attributes:
        recorded: The input.
        side: `before` or `after`; empty where there are no sides.
        label: What its processes are called after: `before`, `rank 3`; empty for nothing.
        number: Its place among the inputs.
        shift_ns: What to add to its times.
    """

    recorded: Recorded
    side: str = ""
    label: str = ""
    number: int = 0
    shift_ns: int = 0

    def called(self, name: str) -> str:
        """A name with the label before it."""
        return f"{self.label} | {name}" if self.label else name

    @property
    def first_pid(self) -> int:
        """The first of the numbers that its own processes get."""
        return (self.number + 1) * _PIDS_OF_AN_INPUT + _PIDS_OF_TRACKS

    def track_pid(self, device: int) -> int:
        """The process of the tracks of a device, by its position."""
        return (self.number + 1) * _PIDS_OF_AN_INPUT + device


def merged(inputs: Sequence[Recorded]) -> list[Placed]:
    """The ranks of one run, each moved by how much later than the earliest its clock began."""
    return [
        Placed(recorded, "", label, number, later)
        for number, (recorded, label, later) in enumerate(
            zip(inputs, _labels(inputs), _later_ns(inputs), strict=True)
        )
    ]


def aligned(before: Sequence[Recorded], after: Sequence[Recorded]) -> list[Placed]:
    """Two sides, moved so that the windows of both begin at the same instant and no time is negative."""
    lead = max(_lead_ns(before), _lead_ns(after))
    return [
        replace(
            placed,
            side=side,
            label=side if len(inputs) == 1 else f"{side}, {placed.label}",
            number=placed.number + first,
            shift_ns=placed.shift_ns + lead - _window_ns(inputs),
        )
        for side, inputs, first in ((BEFORE, before, 0), (AFTER, after, len(before)))
        for placed in merged(inputs)
    ]


def arrows(placed: Sequence[Placed]) -> Iterator[bytes]:
    """An arrow for each phase and step that both sides have, from where it begins before to where it begins after."""
    before, after = ([p for p in placed if p.side == side] for side in (BEFORE, AFTER))
    number = 0
    for left, right in zip(before, after, strict=False):
        to = _instances(right)
        for key, end in _instances(left).items():
            if key in to:
                number += 1
                yield arrow_events(number, key[-1], (end, to[key]))


def _instances(placed: Placed) -> dict[tuple[int, str, str], tuple[Row, int]]:
    """Where each phase and step begins: by device, track and name."""
    found: dict[tuple[int, str, str], tuple[Row, int]] = {}
    for device, tracks in enumerate(placed.recorded.devices):
        for row, track in rows_of(tracks, placed.track_pid(device)):
            if track.name not in {PHASES, STEPS}:
                continue
            named = track.spans.filter(pl.col("name") != OTHER)
            first = named.unique("name", keep="first", maintain_order=True)
            for name, start in first.select("name", "start_ns").iter_rows():
                found[device, track.name, name] = (row, start + placed.shift_ns)
    return found


def _later_ns(inputs: Sequence[Recorded]) -> list[int]:
    """How much later than the earliest each clock began; 0 where one of the inputs does not say."""
    bases = [recorded.base_ns for recorded in inputs]
    return [base - min(bases) for base in bases] if all(bases) else [0] * len(bases)


def _window_ns(inputs: Sequence[Recorded]) -> int:
    later = _later_ns(inputs)
    return min(r.window_start_ns + by for r, by in zip(inputs, later, strict=True))


def _lead_ns(inputs: Sequence[Recorded]) -> int:
    """Time from the first event to the start of the window."""
    later = _later_ns(inputs)
    return _window_ns(inputs) - min(r.first_ns + by for r, by in zip(inputs, later, strict=True))


def _labels(inputs: Sequence[Recorded]) -> list[str]:
    """The ranks; where they repeat, with the files' names."""
    ranks = Counter(recorded.rank for recorded in inputs)
    return [
        f"rank {r.rank}" + (f" ({Path(r.path).name})" if ranks[r.rank] > 1 else "") for r in inputs
    ]
