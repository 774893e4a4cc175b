"""What is read ahead belongs to the first who takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.load.ahead import ReadAhead


def test_a_trace_that_is_loaded_twice_is_whole_twice(tmp_path: Path) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 9_000):
        t.launch("gemm", at=1_000, call_ns=1_000, kernel=(5_000, 8_000))
    name = str(t.write(tmp_path / "t.json"))
    ahead = ReadAhead(name)
    first, second = (load(name, ahead=ahead) for _ in range(2))
    assert first.host.equals(second.host)
    assert first.activities.equals(second.activities)
    assert (second.activities["end_ns"] - second.activities["start_ns"]).to_list() == [3_000]


def test_an_error_belongs_to_whoever_takes_the_trace(tmp_path: Path) -> None:
    ahead = ReadAhead(str(tmp_path / "none.json"))
    for _ in range(2):
        with pytest.raises(MmprofError, match="cannot read"):
            ahead.take()
