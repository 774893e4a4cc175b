"""What there is to say about a difference, as sentences and cells; text of a trace is not yet made safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers import units
from mmprof.cli.renderers.difference.headline import EXPLAINED, explaining, per, relative, signed
from mmprof.cli.renderers.safe import label

if TYPE_CHECKING:
    from mmprof.analyzers.diff.result import Difference, Handling, Row, SideFacts

COLUMNS: Final = ("before", "after", "delta", "change", "detectable", "p")
"""Headings after the name of the row: all numbers."""

_CHANGE: Final = 1 + COLUMNS.index("change")
_DETECTABLE: Final = COLUMNS.index("detectable")

TITLES: Final = {
    "class": "class",
    "cause": "idle cause",
    "phase": "phase",
    "step": "step",
    "module": "module",
    "op": "operator and shapes",
    "kernel": "kernel",
}
_HALF_NAME: Final = 28
_NAME: Final = 48
_SUREST: Final = 3
_LEAST_P: Final = 0.001
_SIGN: Final = "~"
_LEAST_ROWS: Final = 5
"""Where one row makes most of the change, the next ones are still worth a look."""

_FEW_STEPS: Final = 0.5
_SILENT: Final = frozenset({"idle", "busy", "unattributed", "other"})
_SAID: Final = {"appeared": "new", "disappeared": "gone"}
_MEANINGS: Final = {
    ("cause", "outside"): "the device ran other steps, or what was launched before the recording",
    ("phase", "other"): "outside all phases",
    ("step", "other"): "outside all steps and phases",
    ("module", "unattributed"): "outside any module, as far as the trace says",
    ("op", "unattributed"): "outside any operator",
}
_HANDLED: Final = {
    "refused": "NOT COMPARABLE",
    "normalised": "normalised",
    "noted": "note",
}

Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LevelTable:
    """The rows of one level that make most of the change.

    Attributes:
        level: Name of the level.
        title: Heading of the first column.
        columns: Headings of the others.
        rows: Cells.
        remark: How much of the change they make, and how many rows are left out.
    """

    level: str
    title: str
    columns: Cells
    rows: list[Cells]
    remark: str


def facts(found: Difference) -> Iterator[str]:
    """What was compared, on what basis, and what makes that doubtful."""
    yield f"{_side(found.before)}  ->  {_side(found.after)}"
    yield _basis(found)
    if found.total.reason:
        yield f"not judged: {found.total.reason}"
    if named := _surest(found):
        yield f"surest: {named}"
    yield from _differing(found, lambda handling: handling != "noted")


def notes(found: Difference) -> Iterator[str]:
    """What differs besides, and is left as it is."""
    yield from _differing(found, lambda handling: handling == "noted")


def tables(found: Difference, *, by: str = "", top: int) -> Iterator[LevelTable]:
    """The levels that say something, or the one that was asked for."""
    for level in TITLES:
        rows: list[Row] = getattr(found.levels, "class_" if level == "class" else level)
        if by == level or (not by and _says_something(level, rows)):
            yield _table(found, level, rows, top=top, every=bool(by))


def legend(shown: Sequence[LevelTable]) -> Iterator[str]:
    """What the marks and words of some tables mean."""
    changes = {row[_CHANGE] for table in shown for row in table.rows if len(row) > _CHANGE}
    if _SIGN in changes:
        yield f"{_SIGN}: may be noise (Mann-Whitney; at most 5 % of what a table calls changed is not)"
    if any(change.startswith("(") for change in changes):
        yield "( ): not judged, too few samples"
    if any(COLUMNS[_DETECTABLE] in table.columns for table in shown):
        yield "detectable: a change that these samples would show four times out of five"
    named = dict.fromkeys((table.level, row[0]) for table in shown for row in table.rows)
    for level, word in named:
        if meaning := _MEANINGS.get((level, word)):
            yield f"{TITLES[level]} {word}: {meaning}"


def _differing(found: Difference, which: Callable[[Handling], bool]) -> Iterator[str]:
    for reason in found.comparable.reasons:
        if which(reason.handling):
            yield f"{_HANDLED[reason.handling]}: {reason.message} ({reason.code})"


def _side(side: SideFacts) -> str:
    devices = ", ".join(filter(None, side.devices))
    return f"{side.label}" + (f" ({devices})" if devices else "")


def _basis(found: Difference) -> str:
    window = f"; window {found.window}" if found.window else ""
    of = {"step": _steps(found), "trace": "a mean trace", "window": "the whole window"}[found.unit]
    devices = " of a mean device" if max(found.before.windows, found.after.windows) > 1 else ""
    return f"times are of {of}{devices}; {_samples(found)}{window}{_unseen(found)}"


def _surest(found: Difference) -> str:
    """The kernels that a reader should believe first: they need not be those that moved most."""
    rows = {row.key: row for row in found.levels.kernel}
    named = [rows[key] for key in found.surest["kernel"] if key not in _SILENT]
    return "; ".join(
        f"{label(_name(row), _NAME, ellipsis='..')} {signed(row.delta_ns)} ({_moved(row)})"
        for row in named[:_SUREST]
    )


def _moved(row: Row) -> str:
    p = "" if row.p is None else f", p = {row.p:.3f}" if row.p >= _LEAST_P else f", p < {_LEAST_P}"
    return f"{_said(row)}{p}"


def _said(row: Row) -> str:
    return _SAID.get(row.status) or relative(row.before_ns, row.after_ns)


def _steps(found: Difference) -> str:
    """What a time per step is of: also what is outside the steps, and the first one, which is no sample."""
    before, after = found.before.steps, found.after.steps
    by = (
        f"its {before} steps"
        if before == after
        else f"its steps, {before} before and {after} after"
    )
    return f"a mean step, the whole window by {by}"


def _unseen(found: Difference) -> str:
    """What steps of one recording cannot show (docs/significance.md: their totals are called changed too often)."""
    if found.samples != "step" or found.total.delta_ns == 0:
        return ""
    return "; what differs from run to run is not in them: several recordings a side would show it"


def _samples(found: Difference) -> str:
    before, after = found.before.samples, found.after.samples
    each = f"{found.samples}{'s' * (max(before, after) != 1)}"
    if before == after:
        return f"judged by {before} {each} on each side"
    return f"judged by {before} {each} before and {after} after"


def _says_something(level: str, rows: list[Row]) -> bool:
    """Whether a level changed, and says more of it than the total does; steps do where few of them make the change."""
    if level == "step" and explaining(rows) > _FEW_STEPS * len(rows):
        return False
    is_more = len(rows) > 1 and any(row.key not in _SILENT for row in rows)
    return is_more and any(row.delta_ns for row in rows)


def _title(found: Difference, level: str) -> str:
    is_part = level == found.unit == "step"
    return TITLES[level] + (" (part of the mean)" if is_part else "")


def _table(found: Difference, level: str, rows: list[Row], *, top: int, every: bool) -> LevelTable:
    judged = any(row.significant is not None for row in rows)
    count, changed = explaining(rows), sum(row.delta_ns != 0 for row in rows)
    shown = rows[: top if every else min(max(count, _LEAST_ROWS), changed, top)]
    columns = COLUMNS if judged else COLUMNS[:4]
    cells = [_cells(row, sampled=found.total.interval_ns is not None) for row in shown]
    cells = [line[: len(columns) + 1] for line in cells]
    cells.append(_total(found, len(columns)))
    remark = _remark(count, len(shown), len(rows))
    return LevelTable(level, _title(found, level), columns, cells, remark)


def _cells(row: Row, *, sampled: bool) -> Cells:
    return (
        _name(row),
        _time(row.before_ns),
        _time(row.after_ns),
        signed(row.delta_ns),
        _change(row, sampled=sampled),
        _time(row.detectable_ns),
        "" if row.p is None else f"{row.p:.3f}",
    )


def _name(row: Row) -> str:
    """The key; of a renamed kernel enough of both names to see both."""
    if not row.matched_by:
        return row.key
    old, new = (_together(names) for names in (row.before_names, row.after_names))
    return f"{old} -> {new}"


def _together(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return label(names[0], _HALF_NAME, ellipsis="..") + more


def _total(found: Difference, columns: int) -> Cells:
    total = found.total
    cells = (
        f"total{per(found)}",
        _time(total.before_ns),
        _time(total.after_ns),
        signed(total.delta_ns),
        _SIGN
        if total.verdict == "no change" and total.interval_ns
        else relative(total.before_ns, total.after_ns),
        _time(total.detectable_ns),
        "" if total.p is None else f"{total.p:.3f}",
    )
    return cells[: columns + 1]


def _change(row: Row, *, sampled: bool) -> str:
    """The change in words or percent: `~` for noise, in brackets where samples are too few to judge the row."""
    if row.significant is False or not row.delta_ns:
        return _SIGN if row.significant is False else ""
    said = _said(row)
    return f"({said})" if sampled and row.significant is None and said else said


def _time(ns: int | None) -> str:
    return "" if ns is None else units.duration(ns) if ns else "-"


def _remark(explaining_rows: int, shown: int, rows: int) -> str:
    """How far the rows shown explain the change."""
    if not explaining_rows:
        return f"no change in any of {units.count(rows)} rows"
    share = units.share(EXPLAINED).replace(".0 ", " ")
    make = "makes" if explaining_rows == 1 else "make"
    said = (
        f"{units.count(explaining_rows)} of {units.count(rows)} rows {make} {share} of all changes"
    )
    missing = explaining_rows - shown
    return said + (f"; {units.count(missing)} of them are left out" if missing > 0 else "")
