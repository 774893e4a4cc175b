"""Real traces against answers that mmprof did not compute: TraceLens's reports, and plain arithmetic on the JSON."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl
import pytest
from random_traces import assert_adds_up, views

from mmprof.analyzers import intervals
from mmprof.analyzers.load import load
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.view import View

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "traces"
TRACES: Final = sorted(
    str(p.relative_to(SHARED)) for p in SHARED.rglob("*.json*") if SHARED.is_dir()
)
REPORTS: Final = sorted(
    str(p.relative_to(SHARED)) for p in SHARED.rglob("gpu_timeline.csv") if SHARED.is_dir()
)

pytestmark = pytest.mark.skipif(not TRACES, reason="the public traces are not beside this checkout")


T = TypeVar("T", int, float)


def covered(spans: list[tuple[T, T]]) -> T:
    """How much at least one of the spans covers."""
    pieces: list[tuple[T, T]] = []
    for start, end in sorted(spans):
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
        else:
            pieces.append((start, end))
    return sum(end - start for start, end in pieces)


# --- TraceLens ----------------------------------------------------------------------------------------------------

# A float64 holds these times (below 2^43 us) in steps of 2^-10 us: an interval is off by at most one.
ROUNDING_NS: Final = 1.0
# Other reports of the same tool, whose tables are not beside the trace; milliseconds to four digits.
REPORTED_MS: Final = {
    "tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz": (
        908.3382,
        331.8163,
        576.5218,
        327.4170,
        4.3994,
    ),
    "tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz": (
        226.5957,
        201.3518,
        25.2439,
        201.1516,
        0.2001,
    ),
}


@dataclass(frozen=True)
class Timeline:
    """TraceLens's terms: computation is what is neither copy nor collective; a copy is exposed where nothing computes."""

    total: int
    busy: int
    idle: int
    computation: int
    exposed_memcpy: int


def timeline_of(view: View, kept: pl.DataFrame | None = None) -> Timeline:
    activities = view.selected if kept is None else kept
    window = int(activities["end_ns"].max()) - int(activities["start_ns"].min())  # type: ignore[arg-type]
    copies = intervals.merge(activities.filter(pl.col("kind") == "memcpy"))
    computing = intervals.merge(activities.filter(pl.col("kind") != "memcpy"))
    busy = intervals.union_length(activities)
    exposed = intervals.length(intervals.subtract(copies, computing))
    return Timeline(window, busy, window - busy, intervals.length(computing), exposed)


def report_of(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        return {row["type"]: 1e6 * float(row["time ms"]) for row in csv.DictReader(file)}


def trace_of(report: Path) -> Path:
    """The trace that a report is about, beside its folder."""
    stem = report.parent.name.removesuffix("_perf_report_csvs")
    near = [p for p in (*report.parent.parent.glob("*.json.gz"),) if p.name.startswith(stem)]
    return near[0] if near else next(report.parent.parent.glob("*.json.gz"))


def in_float64(activities: pl.DataFrame) -> dict[str, float]:
    """The same numbers as TraceLens computes them: float64 microseconds throughout."""
    rows = [
        (kind, start / 1000, start / 1000 + (end - start) / 1000)
        for kind, start, end in activities.select(
            pl.col("kind").cast(pl.String), "start_ns", "end_ns"
        ).rows()
    ]
    busy = covered([(start, end) for _, start, end in rows])
    computation = covered([(start, end) for kind, start, end in rows if kind != "memcpy"])
    total = max(end for _, _, end in rows) - min(start for _, start, _ in rows)
    return {
        "total_time": total,
        "busy_time": busy,
        "idle_time": total - busy,
        "computation_time": computation,
    }


@pytest.mark.parametrize("report", REPORTS)
def test_timelines_are_those_of_tracelens(report: str) -> None:
    expected = report_of(SHARED / report)
    (view,) = views(load(trace_of(SHARED / report)))
    found = timeline_of(view)
    assert (found.total, found.busy) == (view.window_ns, view.busy_ns)
    assert expected["exposed_comm_time"] == 0
    for name, micros in in_float64(view.selected).items():
        assert 1000 * micros == pytest.approx(expected[name], rel=1e-12, abs=1e-3)
    by_rounding = ROUNDING_NS * len(view.selected)
    assert found.total == pytest.approx(expected["total_time"], abs=ROUNDING_NS)
    assert found.busy == pytest.approx(expected["busy_time"], abs=by_rounding)
    assert found.idle == pytest.approx(expected["idle_time"], abs=by_rounding)
    assert found.computation == pytest.approx(expected["computation_time"], abs=by_rounding)
    assert found.exposed_memcpy == pytest.approx(expected["exposed_memcpy_time"], abs=by_rounding)


@pytest.mark.parametrize("name", REPORTED_MS)
def test_timelines_are_those_reported_to_four_digits(name: str) -> None:
    (view,) = views(load(SHARED / name))
    found = timeline_of(view)
    fields = (found.total, found.busy, found.idle, found.computation, found.exposed_memcpy)
    assert [round(ns / 1e6, 4) for ns in fields] == list(REPORTED_MS[name])


def test_tracelens_loses_memsets_whose_flow_has_no_start() -> None:
    """Five HIP memsets, 26.636 us: with them out, its numbers are ours."""
    (view,) = views(
        load(SHARED / "tracelens/perf_model/normalization/normalization_layer_test.json.gz")
    )
    memsets = view.selected.filter(pl.col("kind") == "memset")
    assert (len(memsets), intervals.union_length(memsets)) == (5, 26_636)
    found = timeline_of(view, view.selected.filter(pl.col("kind") != "memset"))
    assert [round(ns / 1e6, 4) for ns in (found.total, found.busy, found.idle)] == [
        1068.7798,
        0.9920,
        1067.7878,
    ]
    assert view.busy_ns == found.busy + 26_636


# --- plain arithmetic ---------------------------------------------------------------------------------------------

LAUNCHES: Final = {"cuda_runtime", "cuda_driver", "Runtime"}
KINDS: Final = {
    **dict.fromkeys(("kernel", "Kernel"), "kernel"),
    **dict.fromkeys(("gpu_memcpy", "Memcpy"), "memcpy"),
    **dict.fromkeys(("gpu_memset", "Memset"), "memset"),
}


def plain_events(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    document = json.loads(text, parse_float=Decimal)
    return document if isinstance(document, list) else document["traceEvents"]


def span_ns(event: dict[str, Any]) -> tuple[int, int]:
    start = int(Decimal(event["ts"]) * 1000)
    return start, start + int(Decimal(event["dur"]) * 1000)


def plain_timelines(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Per device: window, busy time, counts and sums per kind, and carry-in, by the definitions."""
    called = {
        e["args"]["correlation"]
        for e in events
        if e.get("cat") in LAUNCHES and "correlation" in e.get("args", {})
    }
    called -= {0}
    activities = [e for e in events if e.get("ph") == "X" and e.get("cat") in KINDS]
    linked = [e for e in activities if e["args"].get("correlation") in called] or activities
    found: dict[int, dict[str, Any]] = {}
    for device in sorted({e["args"].get("device", e["pid"]) for e in activities}):
        mine = [e for e in linked if e["args"].get("device", e["pid"]) == device]
        spans = [span_ns(e) for e in mine]
        kinds = [KINDS[e["cat"]] for e in mine]
        found[device] = {
            "window_ns": max(e for _, e in spans) - min(s for s, _ in spans) if spans else 0,
            "busy_ns": covered(spans),
            "kinds": {kind: kinds.count(kind) for kind in set(kinds)},
            "sum_ns": sum(end - start for start, end in spans),
            "carried": sum(e["args"].get("device", e["pid"]) == device for e in activities)
            - len(mine),
        }
    return found


def timelines(trace: Trace) -> Iterator[tuple[int, dict[str, Any]]]:
    for view in views(trace):
        if view.is_host:
            continue
        chosen = view.selected
        kinds = chosen["kind"].cast(pl.String).to_list()
        yield (
            view.device,
            {
                "window_ns": view.window_ns,
                "busy_ns": view.busy_ns,
                "kinds": {kind: kinds.count(kind) for kind in set(kinds)},
                "sum_ns": int((chosen["end_ns"] - chosen["start_ns"]).sum()),
                "carried": int(view.all_activities["carry_in"].sum()),
            },
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACES)
def test_every_public_trace_adds_up_and_agrees_with_plain_arithmetic(name: str) -> None:
    trace = load(SHARED / name)
    for view in views(trace):
        assert_adds_up(view)
    assert not {"MM-N001", "MM-N007", "MM-N008", "MM-N009", "MM-N011", "MM-N015", "MM-N018"} & {
        n.code for n in trace.notes
    }
    events = plain_events(SHARED / name)
    assert trace.facts.events == len(events)
    assert dict(timelines(trace)) == plain_timelines(events)
