"""What stands around a launch: operators, modules, annotations and source lines, innermost first.

Thousands of launches share a few paths, so paths are numbered: two launches with the same names around them have the
same path, and each path is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.hostwork import MODULE_PREFIX, HostWork
from mmprof.analyzers.module_names import with_outer
from mmprof.analyzers.trace import OPERATOR_KINDS

_SOURCE: Final = re.compile(r"^(?P<file>.+\.py)\((?P<line>\d+)\): (?P<function>.+)$")
_LIBRARY: Final = re.compile(
    r"(^|/)(torch|site-packages/torch|importlib|threading\.py|contextlib\.py|runpy\.py)(/|$)"
)
_DEPTH_LIMIT: Final = 256


class Path(NamedTuple):
    """Names around a launch, innermost first; modules are torch's or, where there are any, those of mmprof's tracer."""

    operators: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lineage:
    """The path of each of some host rows.

    Attributes:
        code: Path number per row asked for, in the order asked.
        paths: What the numbers stand for.
    """

    code: pl.Series
    paths: Mapping[int, Path]


def lineage(work: HostWork, rows: pl.Series) -> Lineage:
    """The paths of host rows (which may be null: no path).

    All rows climb together, one named ancestor a round; rows with equal paths so far stay one number.
    """
    host = work.trace.host
    words = _Words(host)
    start = work.named[rows].fill_null(value=False)
    current = pl.select(pl.when(start).then(rows).otherwise(work.above_named[rows])).to_series()
    code = pl.Series([0], dtype=pl.UInt64).new_from_index(0, len(rows))
    paths = [Path()]
    for _ in range(_DEPTH_LIMIT):
        if current.null_count() == len(current):
            break
        # rows go on together where their paths so far and the next word are equal
        steps = code * words.count + words.of_row[current].fill_null(0)
        distinct = steps.unique().sort()
        code = distinct.search_sorted(steps).cast(pl.UInt64)
        ends = (divmod(step, words.count) for step in distinct.to_list())
        paths = [_append(paths[before], *words.spelled(word)) for before, word in ends]
        current = work.above_named[current]
    return Lineage(code.cast(pl.UInt32), dict(enumerate(paths)))


class _Words:
    """The kinds and names of host rows as numbers; 0 stands for no row.

    Attributes:
        of_row: The word of each host row: uint64.
        count: How many there may be: below 2^32, so that a word and the number of a path fit into 64 bits.
    """

    def __init__(self, host: pl.DataFrame) -> None:
        self._kinds = _categories(host["kind"])
        self._names = _categories(host["name"])
        width = len(self._names)
        kind, name = (host[n].to_physical().cast(pl.UInt64) for n in ("kind", "name"))
        self.of_row = kind * width + name + 1
        self.count = len(self._kinds) * width + 1
        self._spelled: dict[int, tuple[str | None, str | None]] = {0: (None, None)}

    def spelled(self, word: int) -> tuple[str | None, str | None]:
        """The kind and the name of a word; None for 0."""
        if word not in self._spelled:
            kind, name = divmod(word - 1, len(self._names))
            self._spelled[word] = self._kinds[kind], self._names[name]
        return self._spelled[word]


def _categories(column: pl.Series) -> pl.Series:
    return column.dtype.categories  # type: ignore[attr-defined, no-any-return]


def _append(path: Path, kind: str | None, name: str | None) -> Path:
    if kind is None or name is None:
        return path
    if kind in OPERATOR_KINDS:
        return Path((*path.operators, name), path.modules, path.annotations)
    if name.startswith(MODULE_PREFIX):
        modules = with_outer(path.modules, name.removeprefix(MODULE_PREFIX))
        return Path(path.operators, modules, path.annotations)
    return Path(path.operators, path.modules, (*path.annotations, name))


def source_lines(host: pl.DataFrame, rows: pl.Series) -> list[str]:
    """For each host row, `file.py:line function` of the innermost Python frame that is not a library's; "" if none."""
    frames = host.select("name", "kind").with_row_index("at").filter(pl.col("kind") == "python")
    distinct = {n: _source(n) for n in frames["name"].unique().cast(pl.String).to_list()}
    own = [n for n, where in distinct.items() if where]
    accepted = host["kind"].eq("python") & host["name"].cast(pl.String).is_in(own)
    found = nesting.climb(host["parent"], rows, accepted)
    return [
        distinct.get(str(n), "") if n is not None else "" for n in host["name"][found].to_list()
    ]


def _source(name: str) -> str:
    match = _SOURCE.match(name[:4096])
    if match is None or _LIBRARY.search(match["file"]):
        return ""
    return f"{match['file']}:{match['line']} {match['function']}"
