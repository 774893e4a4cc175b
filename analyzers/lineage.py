"""What stands around a launch: operators, modules, annotations and source lines, innermost first.

Thousands of launches share a few paths, so paths are numbered: two launches with the same names around them have the
same path, and each path is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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


@dataclass(frozen=True, slots=True)
class Path:
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
    start = work.named[rows].fill_null(value=False)
    current = pl.select(pl.when(start).then(rows).otherwise(work.above_named[rows])).to_series()
    code = pl.Series([0], dtype=pl.UInt32).new_from_index(0, len(rows))
    paths: dict[int, Path] = {0: Path()}
    for _ in range(_DEPTH_LIMIT):
        if current.null_count() == len(current):
            break
        code, paths = _extend(host, code, paths, current)
        current = work.above_named[current]
    return Lineage(code, paths)


def _extend(
    host: pl.DataFrame, code: pl.Series, paths: dict[int, Path], current: pl.Series
) -> tuple[pl.Series, dict[int, Path]]:
    steps = pl.DataFrame(
        {"code": code, "kind": host["kind"][current], "name": host["name"][current]}
    )
    distinct = steps.unique(maintain_order=True).with_row_index("next")
    numbered = steps.join(
        distinct, on=["code", "kind", "name"], how="left", nulls_equal=True, maintain_order="left"
    )
    longer = {
        number: _append(paths[before], kind, name)
        for number, before, kind, name in distinct.select(
            "next", "code", "kind", "name"
        ).iter_rows()
    }
    return numbered["next"], longer


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
