"""A profiled call, and the phases that analysis finds in its trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mmprof


def phase_counts(run: Callable[[], object], trace: Path) -> dict[str, int]:
    """Instances of each phase; what lies outside all of them is left out."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run()
    profiler.export_chrome_trace(str(trace))
    rows: list[Any] = mmprof.analyze(trace).devices[0].value("phases")
    return {row.phase: row.count for row in rows if row.phase != "other"}


def parameters(*models: torch.nn.Module) -> int:
    return sum(p.numel() for model in models for p in model.parameters())
