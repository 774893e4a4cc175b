"""Memory that was freed and is not yet the system's again."""

from __future__ import annotations

import ctypes
import sys


def give_back_freed() -> bool:
    """Let the C library give the system what this process has freed; False where there is no way to ask for it.

    What the decoders sent lies in Python's memory, the tables in that of polars, which cannot use what the other has freed.
    glibc keeps freed blocks below the last that is in use, and gives them back when asked: `malloc_trim(3)`.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(ctypes.c_size_t(0)))
