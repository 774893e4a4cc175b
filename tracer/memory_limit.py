"""Running out of host memory as an error: without a limit the system kills the process, and nothing is left to tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mmprof.tracer.devices import CPU

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

_MEMORY_INFO: Final = Path("/proc/meminfo")
_STATUS: Final = Path("/proc/self/status")
_GROUP: Final = Path("/sys/fs/cgroup")
_KIB: Final = 1 << 10


@contextmanager
def memory_limited(device: str) -> Iterator[None]:
    """Let allocations beyond the memory that is free now fail while the context is entered; on Linux, for the CPU alone.

    The drivers of accelerators map far more than they use.
    """
    free = available_bytes()
    if resource is None or device != CPU or free is None:
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + free
    if resource.RLIM_INFINITY != limits[0] <= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def available_bytes() -> int | None:
    """Memory that this process could still use, within its control group; None where the system does not say."""
    free = _field(_MEMORY_INFO, "MemAvailable")
    limit, used = _number(_GROUP / "memory.max"), _number(_GROUP / "memory.current")
    left = limit - used if limit is not None and used is not None else None
    known = [n for n in (free, left) if n is not None]
    return min(known) if known else None


def _data_bytes() -> int:
    """What the limit counts: private writable memory that is mapped already."""
    return _field(_STATUS, "VmData") or 0


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * _KIB if found else None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" stands for no limit
