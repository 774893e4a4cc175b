"""What needs torch says so before it is imported."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

from mmprof.analyzers.errors import MmprofError

INSTALL: Final = "pip install 'mmprof[trace]'"


def check_torch(what: str = "tracing", *, otherwise: str = "") -> None:
    """Check that torch is installed.

    Args:
        what: What needs it.
        otherwise: What works without it.

    Raises:
        MmprofError: It is not.
    """
    if importlib.util.find_spec("torch") is None:
        hint = f"{INSTALL}; without torch: {otherwise}" if otherwise else INSTALL
        raise MmprofError(
            "MM-E050",
            f"{what} needs torch, which is not installed",
            found=sys.executable,
            hint=hint,
        )
