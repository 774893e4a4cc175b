"""Names around launches against climbing parent by parent, and the source line that a person would look at."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from random_traces import Event, loaded, traces

from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.lineage import Path, lineage, source_lines
from mmprof.analyzers.trace import Trace


def climbed(trace: Trace, row: int) -> Path:
    """The path of a host row, by its definition."""
    kinds, names = (trace.host[column].cast(pl.String).to_list() for column in ("kind", "name"))
    parents = trace.host["parent"].to_list()
    around: dict[str, list[str]] = {"operator": [], "module": [], "annotation": []}
    at: int | None = row
    while at is not None:
        if kinds[at] == "python" and names[at].startswith("nn.Module: "):
            around["module"].append(names[at].removeprefix("nn.Module: "))
        elif kinds[at] in around:
            around[kinds[at]].append(names[at])
        at = parents[at]
    return Path(*(tuple(around[kind]) for kind in ("operator", "module", "annotation")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traces())
def test_paths_are_those_of_climbing(events: list[Event]) -> None:
    trace = loaded(events)
    rows = trace.host["row"]
    found = lineage(HostWork(trace), rows)
    paths = [found.paths[code] for code in found.code.to_list()]
    assert paths == [climbed(trace, row) for row in rows.to_list()]
    assert len(set(found.code.to_list())) == len(set(paths))  # equal paths have one number


def test_a_row_that_is_none_has_no_path() -> None:
    trace = loaded(
        [{"ph": "X", "cat": "cpu_op", "name": "op", "pid": 1, "tid": 1, "ts": 1, "dur": 1}]
    )
    found = lineage(HostWork(trace), pl.Series([None, 0], dtype=pl.UInt32))
    assert [found.paths[code] for code in found.code.to_list()] == [Path(), Path(operators=("op",))]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (["main.py(3): main", "model.py(71): forward"], "model.py:71 forward"),
        (
            [
                "main.py(3): main",
                "/usr/lib/python3/site-packages/torch/nn/modules/linear.py(9): forward",
            ],
            "main.py:3 main",
        ),
        (
            ["main.py(3): main", "torch/_ops.py(1): __call__", "contextlib.py(8): inner"],
            "main.py:3 main",
        ),
        (["main.py(3): main", "<built-in method item of Tensor>"], "main.py:3 main"),
        (["my_torch/ops.py(4): f(x): y"], "my_torch/ops.py:4 f(x): y"),
        (["nn.Module: Linear_0"], ""),
        ([], ""),
    ],
)
def test_the_source_line_is_the_innermost_of_the_users_own(
    frames: list[str], expected: str
) -> None:
    python = [
        {
            "ph": "X",
            "cat": "python_function",
            "name": name,
            "pid": 1,
            "tid": 1,
            "ts": at,
            "dur": 100 - 2 * at,
        }
        for at, name in enumerate(frames)
    ]
    op = {"ph": "X", "cat": "cpu_op", "name": "op", "pid": 1, "tid": 1, "ts": 40, "dur": 1}
    trace = loaded([*python, op])
    row = trace.host.filter(pl.col("name") == "op")["row"]
    assert source_lines(trace.host, row) == [expected]
