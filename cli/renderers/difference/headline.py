"""The first line of a diff: faster or slower, by how much, and because of what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mmprof.cli.renderers import units

if TYPE_CHECKING:
    from mmprof.analyzers.diff.result import Difference, Row, Total

EXPLAINED: Final = 0.9
"""Share of all changes that a list of rows is cut at."""

_MOST_CAUSES: Final = 4
_WAITING: Final = {
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
    """A part of the total's change."""

    name: str
    delta_ns: int


def headline(found: Difference) -> str:
    """One sentence an expert would say."""
    total = found.total
    if total.verdict == "no change":
        return _no_change(found)
    moved = f"{units.duration(total.before_ns)} -> {units.duration(total.after_ns)}{per(found)}"
    parts = [f"{_moved(total)}: {moved}", *_because(_causes(found), total.delta_ns)]
    return "; ".join(parts)


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
    """`1.31x faster`, or what can be said without a verdict."""
    if total.times_faster:
        words = f"{units.factor(total.times_faster)} faster"
    elif total.times_slower:
        words = f"{units.factor(total.times_slower)} slower"
    else:
        words = "As long as before"
    return f"{words}, not judged" if total.verdict == "undecided" else words


def _no_change(found: Difference) -> str:
    total = found.total
    if total.delta_ns == 0:
        return f"No change: {units.duration(total.before_ns)}{per(found)} on both sides"
    moved = f"{units.duration(total.before_ns)} -> {units.duration(total.after_ns)}{per(found)}"
    share = relative(total.before_ns, total.after_ns)
    return f"No change: {moved} ({share}) is within the noise"


def _causes(found: Difference) -> list[Change]:
    """Busy time by class and idle time by cause: each nanosecond of the total once, the largest change first."""
    busy = (Change(_plain(r.key), r.delta_ns) for r in found.levels.class_ if r.key != "idle")
    idle = (
        Change(_WAITING.get(r.key, f"idle {r.key}"), r.delta_ns)
        for r in found.levels.cause
        if r.key != "busy"
    )
    return sorted([*busy, *idle], key=lambda change: -abs(change.delta_ns))


def _because(causes: Sequence[Change], delta_ns: int) -> list[str]:
    """What makes most of the change, and what works against it."""
    whole, reached = sum(abs(c.delta_ns) for c in causes), 0
    main: list[Change] = []
    for change in causes[:_MOST_CAUSES]:
        if reached < EXPLAINED * whole:
            main.append(change)
            reached += abs(change.delta_ns)
    with_it = [c for c in main if c.delta_ns * delta_ns > 0]
    against = [c for c in main if c.delta_ns * delta_ns < 0]
    said = [_listed(with_it)] if with_it else []
    return said + ([f"but {_listed(against)}"] if against else [])


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(f"{name} {signed(delta_ns)}" for name, delta_ns in changes)


def _plain(name: str) -> str:
    return name.replace("_", " ")
