"""What a lever would gain: the replay of its changes, as low, expected and high."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl

from mmprof.analyzers.findings import Evidence
from mmprof.analyzers.findings.evidence import main_place
from mmprof.analyzers.findings.registry import EVIDENCE_LIMIT
from mmprof.analyzers.findings.thresholds import SIGNIFICANT_SHARE
from mmprof.analyzers.units import format_count, format_share, three_digits
from mmprof.analyzers.whatif.replay import ERROR_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmprof.analyzers.whatif.changes import Change
    from mmprof.analyzers.whatif.replay import Replay

Predicted: TypeAlias = "tuple[Prediction | None, str]"
"""A prediction and ""; or None and why nothing is predicted."""

_UNKNOWN_COST: Final = (
    "what the profiler itself cost is not known: low holds if half of the host's time was its"
)


@dataclass(frozen=True, slots=True)
class Case:
    """Three ways that a lever may turn out; what each changes.

    Attributes:
        low: If little of it works.
        expected: As it usually does.
        high: If all of it works.
    """

    low: Sequence[Change]
    expected: Sequence[Change]
    high: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Prediction:
    """How many times faster the window would be.

    Attributes:
        low: At least, 1.0 for nothing.
        expected: As is likely.
        high: At most.
        assumptions: What it rests on, in words.
        evidence: The activities that change, with their share of the window.
        error: The error of the replay without changes, as a share; `low` and `high` are wider by it.
        case: What changes, to be combined with what other levers change.
    """

    low: float
    expected: float
    high: float
    assumptions: tuple[str, ...]
    evidence: Evidence
    error: float
    case: Case


def predicted(
    replay: Replay,
    case: Case,
    *,
    rows: pl.Series,
    assumptions: Sequence[str],
    time_ns: int | None = None,
) -> Predicted:
    """Replay a case.

    Args:
        replay: The window.
        case: What changes.
        rows: The activities that the lever acts on.
        assumptions: What the case rests on.
        time_ns: The time of the base that the lever acts on; None for the recorded time of the activities.
    """
    if not replay.reliable:
        return None, _why_unreliable(replay)
    low, expected, high = speedups(replay, case)
    if high - 1 < SIGNIFICANT_SHARE:
        return None, f"nothing is gained: {three_digits(high)}x at best"
    said = (*assumptions, *_unknown(replay))
    return Prediction(
        low=low,
        expected=expected,
        high=high,
        assumptions=said,
        evidence=_evidence(replay, rows, time_ns),
        error=replay.error,
        case=case,
    ), ""


def _why_unreliable(replay: Replay) -> str:
    limit = f"more than {format_share(ERROR_LIMIT)} predicts nothing"
    if replay.error > ERROR_LIMIT:
        return f"the replay misses the measured window by {format_share(replay.error)}; {limit}"
    return f"no recorded cause explains {format_share(replay.unexplained)} of the window; {limit}"


def _unknown(replay: Replay) -> Iterator[str]:
    """What this trace cannot say of any lever."""
    if replay.event_cost_ns is None:
        yield _UNKNOWN_COST
    if len(replay.collectives):
        yield (
            f"{format_count(len(replay.collectives), 'collective')} wait for other ranks, which the trace of one does not show: all "
            "ranks gain alike; low: no other rank gains, and none of these ends earlier"
        )


def speedups(replay: Replay, case: Case) -> tuple[float, float, float]:
    """Low, expected and high of a case; low and high are wider by the error of the replay."""
    low, expected, high = sorted(
        (
            replay.cautious_speedup(case.low),
            replay.speedup(case.expected),
            replay.speedup(case.high),
        )
    )
    least = max(low / (1 + replay.error), min(low, 1.0))
    return round(least, 4), round(expected, 4), round(high * (1 + replay.error), 4)


def _evidence(replay: Replay, rows: pl.Series, time_ns: int | None) -> Evidence:
    view = replay.view
    found = view.activities.filter(pl.col("row").is_in(rows.implode()))
    largest = found.sort("own_ns", "start_ns", descending=[True, False])
    whole_ns = view.window_ns if time_ns is None else replay.base_ns
    spent_ns = int(found["own_ns"].sum()) if time_ns is None else min(time_ns, whole_ns)
    around = largest.get_column("around", default=largest["launch"])
    return Evidence(
        events=[int(e) for e in largest["event"].drop_nulls().head(EVIDENCE_LIMIT).to_list()],
        share=spent_ns / max(whole_ns, 1),
        time_ns=spent_ns,
        count=found.height,
        where=main_place(view, around, largest["own_ns"]),
    )
