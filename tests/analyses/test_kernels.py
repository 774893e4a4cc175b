from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM, overlapping_streams
from mmprof.analyzers.analyses.kernels import KernelRow, kernels
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]
REFERENCES = (
    "h100/Qwen_Qwen1.5-0.5B-Chat__1016005",
    "h100/google_owlv2-large-patch14-ensemble__1016001",
    "mi210/gpu_only_trace/gpu_only_trace",
    "mi300/gaunernst_bert-small-uncased__1016001",
    "torch_compile_triton/trace",
)


def test_rows_are_the_plain_sums_by_name_and_own_time_adds_up_to_busy(view_of: ViewOf) -> None:
    built, expected = overlapping_streams()
    view = view_of(built)
    rows = kernels(view).kernels
    # GEMM 10..40 and 25..60, ADD 30..35 (under both) and 70..80
    assert [(r.name, r.class_, r.count, r.sum_ns) for r in rows] == [
        (GEMM, "linear", 2, 65_000),
        (ADD, "linear", 2, 15_000),
    ]
    assert [(r.min_ns, r.max_ns, r.mean_ns) for r in rows] == [
        (30_000, 35_000, 32_500),
        (5_000, 10_000, 7_500),
    ]
    assert [r.own_ns for r in rows] == [50_000, 10_000]
    assert sum(r.own_ns for r in rows) == expected["busy_ns"]
    assert [r.share for r in rows] == pytest.approx([5 / 6, 1 / 6])


def test_mean_is_rounded_to_a_nanosecond(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=100, kernel=(1_000, 1_003))
    t.launch(GEMM, at=200, call_ns=100, kernel=(2_000, 2_004))
    assert kernels(view_of(t)).kernels[0].mean_ns == 4  # 7 / 2


def test_a_name_with_several_classes_takes_that_of_most_of_its_time(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::add", 0, 1_000):
        t.launch(ADD, at=100, call_ns=100, kernel=(2_000, 5_000))
    with t.op("aten::native_layer_norm", 1_000, 2_000):
        t.launch(ADD, at=1_100, call_ns=100, kernel=(6_000, 7_000))
    row = kernels(view_of(t)).kernels[0]
    assert (row.class_, row.by, row.class_share) == ("elementwise", "operator", 0.75)


def test_copies_and_fills_are_rows_and_carry_in_is_none(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.carry_in(GEMM, -2_000, -1_000)
    t.memset(at=0, call_ns=100, fill=(1_000, 1_500), nbytes=64)
    t.memcpy("DtoH (Device -> Pinned)", at=200, call_ns=100, copy=(2_000, 4_000), nbytes=64)
    rows = kernels(view_of(t)).kernels
    assert [(r.name, r.class_, r.sum_ns) for r in rows] == [
        ("Memcpy DtoH (Device -> Pinned)", "memcpy", 2_000),
        ("Memset (Device)", "memset", 500),
    ]
    assert {r.occupancy_percent for r in rows} == {None}


def test_occupancy_is_the_median_of_what_is_known(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for at, occupancy in ((0, 10), (1_000, 40), (2_000, 100), (3_000, None)):
        known = {} if occupancy is None else {"est. achieved occupancy %": occupancy}
        t.launch(GEMM, at=at, call_ns=10, kernel=(at + 100, at + 200), args=known)
    assert kernels(view_of(t)).kernels[0].occupancy_percent == 40.0


def test_operators_stand_for_kernels_where_there_is_no_device(view_of: ViewOf) -> None:
    t = TraceBuilder("cpu")
    with t.op("aten::linear", 0, 10_000):
        t.op("aten::addmm", 1_000, 9_000)
    assert [(r.name, r.sum_ns) for r in kernels(view_of(t)).kernels] == [("aten::addmm", 8_000)]


def _references(table: Path) -> Iterator[dict[str, str]]:
    """Rows of a `kernel_summary.csv`, except those of kernels without a launch: they are carried in."""
    with table.open(encoding="utf-8-sig") as lines:
        yield from (row for row in csv.DictReader(lines) if row["Parent op category"])


def _by_name(table: Path) -> dict[str, tuple[int, int, int, int]]:
    """Count, sum, min and max in nanoseconds of each kernel; the table splits kernels by operator and stream."""
    found: dict[str, tuple[int, int, int, int]] = {}
    for row in _references(table):
        count = int(row["Kernel duration (µs)_count"])
        total, low, high = (
            _ns(row[f"Kernel duration (µs)_{what}"]) for what in ("sum", "min", "max")
        )
        known = found.get(row["Kernel name"], (0, 0, low, high))
        found[row["Kernel name"]] = (
            known[0] + count,
            known[1] + total,
            min(known[2], low),
            max(known[3], high),
        )
    return found


def _ns(microseconds: str) -> int:
    return round(Decimal(microseconds) * 1000)


def _is_moved(row: KernelRow) -> bool:
    return row.class_ in ("memcpy", "memset")


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_the_kernel_summary_of_tracelens_to_the_nanosecond(
    shared_traces: Path, name: str
) -> None:
    folder = shared_traces / "tracelens"
    expected = _by_name(folder / f"{name}_perf_report_csvs" / "kernel_summary.csv")
    view = next(views(load(folder / f"{name}.json.gz"), Options()))
    rows = kernels(view).kernels
    found = {r.name: (r.count, r.sum_ns, r.min_ns, r.max_ns) for r in rows}
    # Below operators, the table has kernels only: copies and fills are ours alone.
    extra = {r.name for r in rows if _is_moved(r)} - expected.keys()
    assert {n: v for n, v in found.items() if n not in extra} == expected
    assert sum(r.own_ns for r in rows) == view.busy_ns
