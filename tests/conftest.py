"""Shared test fixtures: where the public traces lie, when this checkout has them beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View

# a deadline would fail where the machine is busy, and says nothing about the code
settings.register_profile("mmprof", deadline=None)
settings.load_profile("mmprof")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "traces"


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """The folder of public traces; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the public traces are not beside this checkout")
    return SHARED


@pytest.fixture
def view_of(tmp_path: Path) -> Callable[[TraceBuilder], View]:
    """Load a built trace and look at its first device, or at the host where it has none."""

    def view(built: TraceBuilder) -> View:
        trace = load(built.write(tmp_path / "trace.json"))
        return next(views(trace, Options()))

    return view
