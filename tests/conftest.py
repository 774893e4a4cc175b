"""Shared test fixtures: where the public traces lie, when this checkout has them beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "traces"


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """The folder of public traces; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the public traces are not beside this checkout")
    return SHARED
