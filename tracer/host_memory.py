"""What glibc's malloc does with memory that torch frees on a CPU, and how often the system has to give new one.

By default a large tensor is mapped when it is made and unmapped when it is freed: the next one of its size is mapped anew, and the
system fills each of its pages with zeros at the first touch (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
MMAP_MAX: Final = -4
"""Parameters of mallopt, as `malloc.h` of glibc numbers them."""

KEEP: Final = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
"""Nothing is mapped for itself, and nothing is given back."""

# Once told anything, glibc no longer adjusts itself, and what it had come to cannot be read: these are the ends of that way.
LIKE_BEFORE: Final = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""glibc's default, and the largest values that its own adjusting reaches."""


def why_malloc_cannot_keep() -> str:
    """Why malloc of this process cannot be told to keep memory; empty where it can."""
    name = platform.libc_ver()[0]
    if name != "glibc":
        return f"only glibc's malloc can be told to keep memory; this process has {name or 'another C library'}"
    if "malloc" in os.environ.get("LD_PRELOAD", ""):
        return "another malloc is preloaded (LD_PRELOAD), which has settings of its own"
    return ""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let malloc keep what is freed for what comes next; afterwards it gives back what is free."""
    _tell_malloc(KEEP)
    try:
        yield
    finally:
        _tell_malloc(LIKE_BEFORE)
        ctypes.CDLL(None).malloc_trim(0)


def _tell_malloc(settings: dict[int, int]) -> None:
    """Set parameters of malloc.

    Raises:
        OSError: malloc takes none of them.
    """
    libc = ctypes.CDLL(None)
    for parameter, value in settings.items():
        if not libc.mallopt(parameter, value):
            raise OSError(f"mallopt({parameter}, {value}) was refused")


def page_faults(run: Callable[[], object]) -> int:
    """Pages that the system had to give this process during a run, files that are in memory already among them."""
    before = pages_so_far()
    run()
    return pages_so_far() - before


def pages_so_far() -> int:
    """Pages that the system had to give this process since it began; 0 on a system that does not say."""
    try:
        import resource  # noqa: PLC0415  (not on every system)
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
