"""The first line of a diff: faster or slower, by how much, and because of what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mmprof.cli.renderers import units
from mmprof.cli.renderers.safe import label

if TYPE_CHECKING:
    from mmprof.analyzers.diff.result import Difference, Row, SideFacts, Total

EXPLAINED: Final = 0.9
"""Share of all changes that a list of rows is cut at."""

_MOST_CAUSES: Final = 4
_DEVICE_COLUMNS: Final = 32
WAITING: Final = {
    "sync": "idle in synchronisation",
    "allocator": "idle in the allocator",
    "runtime": "idle in runtime calls",
    "compile": "idle for compilation",
    "dataloader": "waiting for the data loader",
    "profiler": "idle for the profiler",
    "dispatch": "idle in dispatch",
    "python": "idle in Python",
    "launch": "idle in launch calls",
    "dependency": "idle for other streams",
    "graph": "idle inside graphs",
    "queue": "idle in the queue",
    "outside": "other work on the device",
    "unknown": "idle for unknown causes",
}


class Change(NamedTuple):
    """A part of the total's change.

    Attributes:
        name: What it is called in a sentence.
        delta_ns: How much more time it takes.
        is_noise: Whether it was judged to be no change.
    """

    name: str
    delta_ns: int
    is_noise: bool

    @classmethod
    def of(cls, row: Row, name: str) -> Change:
        """The part that a row is of."""
        return cls(name, row.delta_ns, row.significant is False)


def headline(found: Difference) -> str:
    """One sentence an expert would say."""
    total = found.total
    if total.verdict == "no change":
        return _no_change(found)
    moved = f"{units.duration(total.before_ns)} -> {units.duration(total.after_ns)}{per(found)}"
    said = f"{_moved(total)}{_on_devices(found)}{_unjudged(total)}"
    parts = [f"{said}: {moved}", *because(_causes(found), total.delta_ns)]
    return "; ".join(parts)


def because(causes: Sequence[Change], delta_ns: int) -> list[str]:
    """What makes most of the change, and what works against it; noise has its share, and is not named.

    Args:
        causes: The parts of the total, the largest change first.
        delta_ns: The change of the total.
    """
    whole, reached = sum(abs(c.delta_ns) for c in causes), 0
    main: list[Change] = []
    for change in causes[:_MOST_CAUSES]:
        if reached < EXPLAINED * whole:
            main.append(change)
            reached += abs(change.delta_ns)
    named = [c for c in main if not c.is_noise]
    with_it = [c for c in named if c.delta_ns * delta_ns > 0]
    against = [c for c in named if c.delta_ns * delta_ns < 0]
    said = [_listed(with_it)] if with_it else []
    return said + ([f"but {_listed(against)}"] if against else [])


def plain(name: str) -> str:
    """A class as a word of a sentence."""
    return name.replace("_", " ")


def per(found: Difference) -> str:
    """What the times are of, as the end of a phrase."""
    return {"step": " per step", "trace": " per trace", "window": ""}[found.unit]


def signed(ns: int) -> str:
    """Nanoseconds as `-2.10 ms`, `+340 us`, `0 ns`."""
    return f"{'+' if ns > 0 else '-' if ns < 0 else ''}{units.duration(abs(ns))}"


def relative(before_ns: int, after_ns: int) -> str:
    """A change as `-12.3 %`, `+0.4 %`; empty where there was nothing before."""
    if not before_ns:
        return ""
    change = (after_ns - before_ns) / before_ns
    return f"{change:+.1%}".replace("%", " %")


def explaining(rows: Sequence[Row]) -> int:
    """How many rows, the largest change first, make `EXPLAINED` of all changes; a change down counts as one up does."""
    whole, reached = sum(abs(row.delta_ns) for row in rows), 0
    for number, row in enumerate(rows):
        if reached >= EXPLAINED * whole:
            return number
        reached += abs(row.delta_ns)
    return len(rows)


def _moved(total: Total) -> str:
    """`1.31x faster`; the factor is before / after where it is faster, after / before where it is slower."""
    if total.times_faster:
        return f"{units.factor(total.times_faster)} faster"
    if total.times_slower:
        return f"{units.factor(total.times_slower)} slower"
    return "As long as before"


def _unjudged(total: Total) -> str:
    return ", not judged" if total.verdict == "undecided" else ""


def _on_devices(found: Difference) -> str:
    """` on Tesla V100 than on A100` where the change is one of the device."""
    before, after = (_device(side) for side in (found.before, found.after))
    if not before or not after or before == after:
        return ""
    return f" on {after} {'than' if found.total.delta_ns else 'as'} on {before}"


def _device(side: SideFacts) -> str:
    """The name of a side's devices; empty where they have several or none."""
    return label(side.devices[0], _DEVICE_COLUMNS) if len(side.devices) == 1 else ""


def _no_change(found: Difference) -> str:
    total = found.total
    if total.delta_ns == 0:
        return f"No change: {units.duration(total.before_ns)}{per(found)} on both sides"
    moved = f"{units.duration(total.before_ns)} -> {units.duration(total.after_ns)}{per(found)}"
    share = relative(total.before_ns, total.after_ns)
    return f"No change: {moved} ({share}) is within the noise"


def _causes(found: Difference) -> list[Change]:
    """Busy time by class and idle time by cause: each nanosecond of the total once, the largest change first."""
    busy = (Change.of(r, plain(r.key)) for r in found.levels.class_ if r.key != "idle")
    idle = (Change.of(r, WAITING[r.key]) for r in found.levels.cause if r.key != "busy")
    return sorted([*busy, *idle], key=lambda change: -abs(change.delta_ns))


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(f"{change.name} {signed(change.delta_ns)}" for change in changes)
