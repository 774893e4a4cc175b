"""What changed between two sides: the total, and by each level the rows that sum to it exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mmprof.analyzers.diff.certainty import surest
from mmprof.analyzers.diff.drift import beyond_drift, shared_move
from mmprof.analyzers.diff.guard import compare, require_comparable
from mmprof.analyzers.diff.kernels import Match, match_kernels
from mmprof.analyzers.diff.pieces import IDLE, LEVELS
from mmprof.analyzers.diff.result import (
    Comparable,
    Difference,
    Levels,
    Row,
    SideFacts,
    Total,
    Verdict,
)
from mmprof.analyzers.diff.samples import Basis, Measured, all_pieces, measure, padded
from mmprof.analyzers.diff.sides import Side
from mmprof.analyzers.diff.significance import ERROR_RATE, Judged, Series, judge, reason_of_silence
from mmprof.analyzers.errors import MmprofError

_TOTAL: Final = ("total", "total")
_ONE_EACH: Final = "one {unit} on each side: what differs from run to run is unknown"
_UNSTEADY: Final = "the medians differ, but single {unit}s differ as much (p = {p:.3f})"
_ALIKE: Final = (
    "all kernels moved by about {drift:+.1%} alike, as two runs of one program can;"
    " several recordings a side would tell"
)
_UNCHANGED: Final[tuple[Verdict, str]] = "no change", ""
_OUTLIERS: Final = "the means differ one way and the medians the other: single {unit}s decide"
_COLUMNS: Final = {"step": "instance", "kernel": "row"}
"""Columns of pieces that are called otherwise than their level."""

Key = tuple[str, str]


@dataclass(frozen=True)
class _Pair:
    """Both sides on one basis.

    Attributes:
        matches: What the keys of renamed kernels stand for.
    """

    before: Measured
    after: Measured
    matches: Mapping[str, Match]

    @property
    def silence(self) -> str:
        """Why nothing can be judged; empty where something can."""
        counts = [len(side.units_of_sample) for side in (self.before, self.after)]
        if max(counts) <= 1:
            return _ONE_EACH.format(unit=self.before.basis.samples)
        return reason_of_silence(*counts)


def difference(before: Side, after: Side, *, anyway: bool = False, window: str = "") -> Difference:
    """Compare two sides.

    Args:
        before: The first side.
        after: The second side.
        anyway: Compare also what is not comparable.
        window: The part of the traces that the sides are of, to be said in the result.

    Raises:
        MmprofError: The sides are not comparable (MM-E070), or the rows do not add up: a defect of mmprof.
    """
    comparable = compare(before, after)
    if not anyway:
        require_comparable(comparable)
    return _document(_pair(before, after), comparable, window)


def _pair(before: Side, after: Side) -> _Pair:
    basis = Basis.of(before, after)
    matched = match_kernels(all_pieces(before), all_pieces(after))
    return _Pair(
        measure(before, basis, matched.before),
        measure(after, basis, matched.after),
        matched.matches,
    )


def _document(pair: _Pair, comparable: Comparable, window: str) -> Difference:
    judged, drift = _judged(pair)
    levels = {name: _rows(pair, name, judged) for name in LEVELS}
    total = _total(pair, judged.get(_TOTAL), drift, unchanged=_unchanged(levels.values()))
    _check(levels, total)
    basis = pair.before.basis
    return Difference(
        comparable=comparable,
        unit=basis.unit,
        samples=basis.samples,
        window=window,
        before=_facts(pair.before, pair.after),
        after=_facts(pair.after, pair.before),
        total=total,
        drift=drift,
        surest={name: surest(rows) for name, rows in levels.items()},
        levels=Levels(*(levels[name] for name in LEVELS)),
    )


def _column(level: str) -> str:
    return _COLUMNS.get(level, level)


def _judged(pair: _Pair) -> tuple[dict[Key, Judged], float]:
    """What the samples say of each row and of the total, nothing where they are too few; and by how much all kernels drifted."""
    if pair.silence:
        return {}, 0.0
    # a step that is a sample has none
    known = [level for level in LEVELS if level != pair.before.basis.samples]
    series = {(level, key): each for level in known for key, each in _series(pair, level).items()}
    whole = (
        tuple(map(sum, zip(*side.series("class").values(), strict=True)))
        for side in (pair.before, pair.after)
    )
    series[_TOTAL] = Series(*whole)
    drift = _drift(pair, series)
    return beyond_drift(judge(series), series, drift), drift


def _drift(pair: _Pair, series: Mapping[Key, Series]) -> float:
    """What all kernels share; recordings that are samples themselves show it in their spread."""
    if pair.before.basis.samples == "trace":
        return 0.0
    return shared_move(
        each for (level, key), each in series.items() if level == "kernel" and key != IDLE
    )


def _series(pair: _Pair, level: str) -> dict[str, Series]:
    before, after = (side.series(_column(level)) for side in (pair.before, pair.after))
    lengths = [len(side.units_of_sample) for side in (pair.before, pair.after)]
    return {
        key: Series(padded(before, key, lengths[0]), padded(after, key, lengths[1]))
        for key in sorted(before.keys() | after.keys())
    }


def _rows(pair: _Pair, level: str, judged: Mapping[Key, Judged]) -> list[Row]:
    """The rows of a level, the largest delta first."""
    before, after = (side.sums(_column(level)) for side in (pair.before, pair.after))
    rows = [
        _row(
            key,
            (before.get(key), after.get(key)),
            judged.get((level, key)),
            pair.matches.get(key) if level == "kernel" else None,
        )
        for key in before.keys() | after.keys()
    ]
    return sorted(rows, key=lambda row: (-abs(row.delta_ns), -row.before_ns, row.key))


def _row(
    key: str,
    sums: tuple[tuple[int, int] | None, tuple[int, int] | None],
    judged: Judged | None,
    match: Match | None,
) -> Row:
    (before_ns, before_count), (after_ns, after_count) = (each or (0, 0) for each in sums)
    return Row(
        key=key,
        before_ns=before_ns,
        after_ns=after_ns,
        delta_ns=after_ns - before_ns,
        significant=judged.significant if judged else None,
        interval_ns=(judged.low_ns, judged.high_ns) if judged else None,
        p=judged.p if judged else None,
        detectable_ns=judged.detectable_ns if judged else None,
        before_count=before_count,
        after_count=after_count,
        status="appeared" if sums[0] is None else "disappeared" if sums[1] is None else "both",
        before_names=list(match.before) if match else [],
        after_names=list(match.after) if match else [],
        matched_by=match.by if match else "",
    )


def _total(pair: _Pair, judged: Judged | None, drift: float, *, unchanged: bool) -> Total:
    before_ns, after_ns = pair.before.total_ns, pair.after.total_ns
    verdict, reason = _UNCHANGED if unchanged else _verdict(pair, judged, drift)
    moved = verdict != "no change"  # a ratio of noise would be read as a result
    return Total(
        before_ns=before_ns,
        after_ns=after_ns,
        delta_ns=after_ns - before_ns,
        interval_ns=(judged.low_ns, judged.high_ns) if judged else None,
        verdict=verdict,
        reason=reason,
        times_faster=before_ns / after_ns if moved and before_ns > after_ns > 0 else None,
        times_slower=after_ns / before_ns if moved and after_ns > before_ns > 0 else None,
        p=judged.p if judged else None,
        detectable_ns=judged.detectable_ns if judged else None,
    )


def _verdict(pair: _Pair, judged: Judged | None, drift: float) -> tuple[Verdict, str]:
    """The verdict and, where there is none, why."""
    if judged is None or judged.significant is None or judged.p is None:
        return "undecided", pair.silence or "the samples are too few"
    unit = pair.before.basis.samples
    if not judged.significant:
        if judged.low_ns <= 0 <= judged.high_ns:
            return _UNCHANGED
        if judged.p <= ERROR_RATE:
            return "undecided", _ALIKE.format(drift=drift).replace("%", " %")
        return "undecided", _UNSTEADY.format(unit=unit, p=judged.p)
    delta_ns = pair.after.total_ns - pair.before.total_ns
    if delta_ns * judged.delta_ns <= 0:
        return "undecided", _OUTLIERS.format(unit=unit)
    return ("faster" if delta_ns < 0 else "slower"), ""


def _unchanged(levels: Iterable[Iterable[Row]]) -> bool:
    """Whether every row took exactly the same time: a trace against itself."""
    return all(row.delta_ns == 0 for rows in levels for row in rows)


def _facts(measured: Measured, other: Measured) -> SideFacts:
    side = measured.side
    return SideFacts(
        label=side.source.name_beside(other.side.source),
        inputs=list(side.inputs),
        devices=sorted({w.device_name for w in side.windows}),
        windows=len(side.windows),
        steps=side.steps,
        samples=len(measured.units_of_sample),
        notes=list(side.notes),
    )


def _check(levels: Mapping[str, list[Row]], total: Total) -> None:
    """Check that the rows of every level sum to the total.

    Raises:
        MmprofError: They do not: a defect of mmprof.
    """
    wholes: dict[str, Callable[[Row], int]] = {
        "before": lambda row: row.before_ns,
        "after": lambda row: row.after_ns,
    }
    for level, rows in levels.items():
        for what, value in wholes.items():
            got, whole = sum(map(value, rows)), getattr(total, f"{what}_ns")
            if got != whole:
                raise MmprofError(
                    "MM-E090",
                    "the rows of a diff do not add up; this is a defect of mmprof, and no number of it should be used",
                    found=f"{level} {what} sums to {got} ns of {whole} ns",
                    hint="report it with the traces",
                )
