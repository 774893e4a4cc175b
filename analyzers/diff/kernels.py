"""Which kernel of one side does the work of which kernel of the other, where their names differ.

Kernels of the same name are each other's. Those that one side has alone (another architecture, another library, compiled
code) are matched by what they were launched for, the most exact of these first: the same place in a call of the same operator
with the same shapes in the same module; then, where calls launch more or fewer kernels, by their time; the same in any module;
in a call with other shapes. The class has to be the same, too: a product is not a fill. What is left in a module and a class on
both sides is matched as a group: three kernels that became one. What still has no counterpart appeared or disappeared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import polars as pl

from mmprof.analyzers.diff.pieces import IDLE, UNATTRIBUTED

BY_NAME: Final = "name"
_FINE: Final = ("kernel", "op", "operator", "module", "class", "position", "of")
_PAIRED_BY: Final = {
    "operator, shapes, module and order": ("op", "module", "class", "position", "of"),
    "operator, shapes and module": ("op", "module", "class"),
    "operator and shapes": ("op", "class"),
    "operator and module": ("operator", "module", "class"),
}
_GROUPED_BY: Final = {"module and class": ("module", "class")}

_Find: TypeAlias = Callable[[pl.DataFrame, pl.DataFrame, Sequence[str]], pl.DataFrame]
"""From what one side has and the other the lists `before` and `after` of names, by some keys."""


@dataclass(frozen=True)
class Match:
    """Kernels of both sides that are one row.

    Attributes:
        before: Their names before.
        after: Their names after.
        by: What they were matched by.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    by: str

    @property
    def key(self) -> str:
        """What the row is called: `old -> new`."""
        return f"{_together(self.before)} -> {_together(self.after)}"


@dataclass(frozen=True)
class Matched:
    """The pieces of both sides with `row`, the key of their kernel's row.

    Attributes:
        before: Pieces before.
        after: Pieces after.
        matches: What the keys of renamed kernels stand for.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    matches: Mapping[str, Match]


def match_kernels(before: pl.DataFrame, after: pl.DataFrame) -> Matched:
    """Give the pieces of both sides the keys of their kernels' rows."""
    left, right = (_alone(one, other) for one, other in ((before, after), (after, before)))
    matches: dict[str, Match] = {}
    keyed: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    for by, keys, find in _tiers():
        found = find(_attributed(left, keys), _attributed(right, keys), keys)
        named = _with_keys(found, by, matches)
        ours = left.join(
            named.select(*keys, "row", kernel="before").explode("kernel"), on=[*keys, "kernel"]
        )
        theirs = right.join(
            named.select(*keys, "row", kernel="after").explode("kernel"), on=[*keys, "kernel"]
        )
        keyed.append((ours, theirs))
        left, right = (
            rest.join(done, on=_FINE, how="anti") for rest, done in ((left, ours), (right, theirs))
        )
    ours, theirs = (pl.concat([pair[i] for pair in keyed]) for i in (0, 1))
    return Matched(_keyed(before, ours), _keyed(after, theirs), matches)


def _tiers() -> Iterator[tuple[str, tuple[str, ...], _Find]]:
    yield from ((by, keys, _pairs) for by, keys in _PAIRED_BY.items())
    yield from ((by, keys, _groups) for by, keys in _GROUPED_BY.items())


def _alone(side: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The kernels that only this side has, by all that may match them."""
    own = side.filter(pl.col("kernel") != IDLE).join(
        other.select("kernel").unique(), on="kernel", how="anti"
    )
    return own.group_by(_FINE).agg(pl.col("time_ns").sum())


def _attributed(side: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """What has an operator, or where modules decide a module: without one nothing is known of the work."""
    needed = "module" if tuple(keys) in _GROUPED_BY.values() else "operator"
    return side.filter(pl.col(needed) != UNATTRIBUTED)


def _pairs(before: pl.DataFrame, after: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """One kernel for one, where several stand in one place by their time."""
    left, right = (_ranked(side, keys) for side in (before, after))
    both = left.join(right, on=[*keys, "rank"], suffix="_after")
    return both.select(*keys, before=pl.concat_list("kernel"), after=pl.concat_list("kernel_after"))


def _ranked(side: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    sums = side.group_by(*keys, "kernel").agg(pl.col("time_ns").sum())
    ordered = sums.sort("time_ns", "kernel", descending=[True, False])
    return ordered.select(*keys, "kernel", rank=pl.int_range(pl.len()).over(keys))


def _groups(before: pl.DataFrame, after: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """All kernels of a group for all."""
    left, right = (
        _ranked(side, keys).group_by(keys, maintain_order=True).agg("kernel")
        for side in (before, after)
    )
    both = left.join(right, on=keys, suffix="_after")
    return both.select(*keys, before="kernel", after="kernel_after")


def _with_keys(found: pl.DataFrame, by: str, matches: dict[str, Match]) -> pl.DataFrame:
    """Add `row`, and remember what it stands for."""
    ordered = [
        Match(tuple(b), tuple(a), by) for b, a in found.select("before", "after").iter_rows()
    ]
    for match in ordered:
        matches.setdefault(match.key, match)
    return found.with_columns(row=pl.Series([m.key for m in ordered], dtype=pl.String))


def _keyed(side: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    joined = side.join(found.select(*_FINE, "row"), on=_FINE, how="left", maintain_order="left")
    return joined.with_columns(pl.col("row").fill_null(pl.col("kernel")))


def _together(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
