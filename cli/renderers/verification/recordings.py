"""Where the time of recorded requests went, and what explains a gain: a table and a sentence for each lever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.difference.headline import WAITING, Change, because, plain
from mmprof.cli.renderers.units import duration, share, share_of
from mmprof.cli.renderers.verification.verdict_table import NOTHING, VerdictTable

if TYPE_CHECKING:
    from mmprof.tracer.verify_results import (
        ChangedTime,
        LeverResult,
        RecordedRequest,
        Rung,
        Verification,
    )

_HEADING: Final = "Where a recorded request's time goes (with the profiler's own cost)"
_MOST_CLASSES: Final = 5
_PARTS: Final = 1_000_000  # of a window: finer than anything that is shown
_TELLING: Final = frozenset({"verified", "slower"})
"""Verdicts that something must explain; what differs between the others is noise."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One row.

    Attributes:
        name: Of the lever.
        verdict: What came of it.
        recorded: Where the time went.
        changed: What makes the difference to the row that it is compared with.
    """

    name: str
    verdict: str
    recorded: RecordedRequest
    changed: Sequence[ChangedTime] = ()


def recordings(
    found: Verification, results: Iterable[tuple[str, LeverResult | Rung]]
) -> list[VerdictTable]:
    """The table, where there is anything to compare with the baseline.

    Args:
        found: What the baseline is of.
        results: Levers and stacks of them, with what to call each.
    """
    base = found.baseline.recorded
    rows = [
        Recording(name, result.verdict, result.recorded, result.changed)
        for name, result in results
        if result.recorded is not None
    ]
    if base is None or not rows:
        return []
    shown = [Recording("baseline", NOTHING, base), *rows]
    names = _main_classes(shown)
    columns = ("recorded", "verdict", "time", "idle", *map(plain, names), "other classes")
    remarks = [sentence(row) for row in rows if row.verdict in _TELLING and row.changed]
    return [VerdictTable(_HEADING, columns, [_cells(row, names) for row in shown], remarks)]


def sentence(row: Recording) -> str:
    """What makes a lever faster, or slower, by the two recordings; or that they do not show it."""
    before_ns = sum(part.before_ns for part in row.changed)
    after_ns = sum(part.after_ns for part in row.changed)
    parts = [Change(_named(part), part.delta_ns, is_noise=False) for part in row.changed]
    moved = f"{duration(before_ns)} -> {duration(after_ns)}"
    if (after_ns < before_ns) != (row.verdict == "verified"):
        return f"{row.name}: one recording of each does not show it: {moved}"
    return "; ".join([f"{row.name}: {moved} recorded", *because(parts, after_ns - before_ns)])


def _named(part: ChangedTime) -> str:
    return WAITING.get(part.key, part.key) if part.idle else plain(part.key)


def _main_classes(rows: Sequence[Recording]) -> list[str]:
    """The classes that take the largest share of any of the rows."""
    largest: Counter[str] = Counter()
    for recorded in (row.recorded for row in rows):
        for name, time_ns in recorded.classes_ns.items():
            largest[name] = max(largest[name], time_ns * _PARTS // recorded.window_ns)
    return [name for name, _ in largest.most_common(_MOST_CLASSES)]


def _cells(row: Recording, classes: Sequence[str]) -> tuple[str, ...]:
    recorded = row.recorded
    shown = [recorded.classes_ns.get(name, 0) for name in classes]
    other_ns = sum(recorded.classes_ns.values()) - sum(shown)
    return (
        row.name,
        row.verdict,
        duration(recorded.window_ns),
        share(recorded.idle_share),
        *(share_of(time_ns, recorded.window_ns) for time_ns in (*shown, other_ns)),
    )
