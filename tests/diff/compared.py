"""Small traces of one step or several, with times that are easy to add up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import Options
from mmprof.analyzers.diff.difference import difference
from mmprof.analyzers.diff.result import Difference, Row
from mmprof.analyzers.diff.sides import Side, read_side
from mmprof.analyzers.diff.source import Source

GEMM = "ampere_sgemm_128x64_tn"
SQUARE = [[64, 64], [64, 64]]
SMALL: dict[str, Any] = {"dims": [[8], [8]], "types": ["float", "float"]}


def product(
    path: Path,
    *,
    ns: int = 5_000,
    wait_ns: int = 0,
    kernel: str = GEMM,
    dims: Any = SQUARE,
    module: str = "",
) -> Path:
    """Add for 1 us, wait 7 us (dispatch 3, python 3 + `wait_ns`, launch 1), and multiply for `ns`."""
    t, at = TraceBuilder(), wait_ns
    with t.op("aten::add", 0, 7_000, **SMALL):
        t.launch("add_kernel", at=1_000, call_ns=1_000, kernel=(5_000, 6_000))
    with ExitStack() as inside:
        if module:
            inside.enter_context(t.module(module, at + 10_000, at + 30_000))
        inside.enter_context(
            t.op("aten::mm", at + 10_000, at + 30_000, dims=dims, types=["float", "float"])
        )
        t.launch(kernel, at=at + 12_000, call_ns=1_000, kernel=(at + 13_000, at + 13_000 + ns))
    return t.write(path)


def steps(path: Path, products_ns: Sequence[int], *, idle_ns: int = 10_000) -> Path:
    """Steps of 20 us + `idle_ns` + the time of a product; the first one's window has no time before its first kernel."""
    t, at = TraceBuilder(), 0
    for number, ns in enumerate(products_ns):
        start, end = at + 3_000 + idle_ns, at + 20_000 + idle_ns + ns
        with t.annotation(f"ProfilerStep#{number}", at, end):
            with t.op("aten::add", at, at + 2_000, **SMALL):
                t.launch("add_kernel", at=at + 500, call_ns=500, kernel=(at + 2_000, at + 3_000))
            with t.op("aten::mm", start - 2_000, start, dims=SQUARE, types=["float", "float"]):
                t.launch(GEMM, at=start - 1_000, call_ns=500, kernel=(start, start + ns))
        at = end
    return t.write(path)


def side(*paths: Path) -> Side:
    return read_side(Source(tuple(map(str, paths))), Options())


def compared(before: Path, after: Path, **how: Any) -> Difference:
    return difference(side(before), side(after), **how)


def levels(found: Difference) -> dict[str, list[Row]]:
    return {name: getattr(found.levels, name) for name in found.levels.__struct_fields__}


def deltas(rows: Sequence[Row]) -> dict[str, int]:
    """What changed."""
    return {row.key: row.delta_ns for row in rows if row.delta_ns}


def assert_sums_to_total(found: Difference) -> None:
    for rows in levels(found).values():
        assert sum(row.before_ns for row in rows) == found.total.before_ns
        assert sum(row.after_ns for row in rows) == found.total.after_ns
        assert sum(row.delta_ns for row in rows) == found.total.delta_ns
