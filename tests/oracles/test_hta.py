"""HolisticTraceAnalysis agrees on busy, idle and overlap where its definitions are the same.

Its default rounds times to whole microseconds; that is turned off. It counts synchronisation records as activities and
keeps no carry-in, so traces with either are left out.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl
import pytest

from mmprof.analyzers import intervals
from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

ABSOLUTE_TIMES = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
TRACES = (
    "hta/trace_diff/control/control.json.gz",
    "hta/trace_filter/sampled_rank-0.json.gz",
    "tracelens/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
)
WITH_COMMUNICATION = (
    "hta/trace_diff/control/control.json.gz",
    "hta/trace_filter/sampled_rank-0.json.gz",
)


def hta_of(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTA_DISABLE_NS_ROUNDING", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = pytest.importorskip(
            "hta.trace_analysis", reason="the extra `hta` is not installed"
        )
        return analysis.TraceAnalysis(
            trace_files={0: str(path)}, trace_dir=str(path.parent), include_last_profiler_step=True
        )


def view_of(path: Path) -> View:
    trace = load(path)
    return View(trace, HostWork(trace), int(trace.activities["device"][0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRACES)
def test_temporal_breakdown_agrees(
    name: str, shared_traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = hta_of(shared_traces / name, monkeypatch).get_temporal_breakdown(visualize=False).iloc[0]
    view = view_of(shared_traces / name)
    assert round(row["kernel_time(us)"] * 1000) == view.window_ns
    assert round(row["idle_time(us)"] * 1000) == view.window_ns - view.busy_ns


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_temporal_breakdown_agrees_as_far_as_float64_holds_absolute_times(
    shared_traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTA reads 16-digit microseconds as float64, whose step there is 250 ns."""
    row = (
        hta_of(shared_traces / ABSOLUTE_TIMES, monkeypatch)
        .get_temporal_breakdown(visualize=False)
        .iloc[0]
    )
    view = view_of(shared_traces / ABSOLUTE_TIMES)
    assert abs(row["kernel_time(us)"] * 1000 - view.window_ns) <= 500
    assert row["idle_time(us)"] * 1000 == pytest.approx(view.window_ns - view.busy_ns, rel=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WITH_COMMUNICATION)
def test_communication_overlap_agrees(
    name: str, shared_traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = hta_of(shared_traces / name, monkeypatch).get_comm_comp_overlap(visualize=False).iloc[0]
    activities = view_of(shared_traces / name).activities
    communication = intervals.merge(activities.filter(pl.col("class") == "communication"))
    computation = intervals.merge(
        activities.filter((pl.col("kind") == "kernel") & (pl.col("class") != "communication"))
    )
    share = (
        100 * intervals.overlap_length(communication, computation) / intervals.length(communication)
    )
    assert row["comp_comm_overlap_pctg"] == pytest.approx(share, abs=0.005)
