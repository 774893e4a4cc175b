"""A loop of steps with known times, as traces and as metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from tests.cli.conftest import Outcome, invoke

__all__ = ["Outcome", "invoke"]

STEP_NS = 100_000
STEADY_US = (40, 41, 42, 40, 41, 42, 40, 41)
"""Kernel time of each step: 41 us is the median."""


def loop(kernels_us: Sequence[int], *, hardware: str | None = None, rank: int = 0) -> TraceBuilder:
    """A step every 100 us; each launches one product that runs until 90 us into the step."""
    t = TraceBuilder(hardware=hardware, rank=rank)
    t.distributed(2)
    for number, kernel_us in enumerate(kernels_us):
        at = number * STEP_NS
        with (
            t.annotation(f"ProfilerStep#{number}", at, at + STEP_NS),
            t.op("aten::mm", at, at + 5_000),
        ):
            end = at + 90_000
            t.launch(GEMM, at=at + 1_000, call_ns=1_000, kernel=(end - kernel_us * 1_000, end))
    return t


WriteLoop = Callable[..., Path]


@pytest.fixture
def write_loop(tmp_path: Path) -> WriteLoop:
    """Write a loop; returns the path of the trace."""

    def write(name: str, kernels_us: Sequence[int] = STEADY_US, **how: object) -> Path:
        return loop(kernels_us, **how).write(tmp_path / name)  # type: ignore[arg-type]

    return write
