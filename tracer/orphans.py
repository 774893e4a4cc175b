"""A process that does not outlive the one that started it, not even where nobody could end it: on Linux."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)


def end_with_parent() -> None:
    """Let the system kill this process when its parent ends: what hangs would run on, and disturb whatever is measured next."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
