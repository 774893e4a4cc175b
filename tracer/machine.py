"""What the sidecar says of the machine: device, host, versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final

import torch

from mmprof.analyzers.sidecar import DeviceFacts, HostFacts
from mmprof.tracer.devices import CPU, count_of

_PACKAGES: Final = ("mmprof", "torch", "transformers", "torchao", "triton")
_CPU_INFO: Final = Path("/proc/cpuinfo")


def device_facts(device: str) -> DeviceFacts:
    """The name, count and memory of a torch device."""
    kind, _, index = device.partition(":")
    if kind == CPU:
        return DeviceFacts(CPU, cpu_model(), 1, _host_memory())
    properties = getattr(torch, kind).get_device_properties(int(index or 0))
    return DeviceFacts(kind, properties.name, count_of(kind), properties.total_memory)


def host_facts() -> HostFacts:
    """The processor, how much of it torch uses, and how busy it is."""
    return HostFacts(cpu_model(), _cores(), torch.get_num_threads(), load_average())


def versions() -> dict[str, str]:
    """Versions of everything that decides what runs, by name; absent packages are left out."""
    found = {"python": platform.python_version(), **installed(_PACKAGES)}
    runtimes = {"cuda": torch.version.cuda, "hip": torch.version.hip, "xpu": torch.version.xpu}
    return found | {name: version for name, version in runtimes.items() if version}


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of installed packages by name."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time, UTC in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def load_average() -> float | None:
    """Processes that wanted to run in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def cpu_model() -> str:
    """The processor as the system names it; its architecture where it has no name."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    allowed: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
