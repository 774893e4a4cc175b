"""Peaks that were measured where a trace was recorded: the ceilings of its sidecar."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.devices.match import DeviceMatch
from mmprof.analyzers.devices.spec import DTYPE_KEYS, DeviceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmprof.analyzers.sidecar import Ceiling, Sidecar

MEASURED: Final = "measured where the trace was recorded"
_HOST: Final = "cpu"
# How much a rate may be above what 64 bits of an integer hold: no machine's.
_MOST_PER_SECOND: Final = 1e18


def measured_device(sidecar: Sidecar | None, name: str | None) -> DeviceMatch | None:
    """The device of a trace as the tracer measured it.

    A peak is the rate of the best square matrix product of its type, the bandwidth that of the fastest copy or
    matrix-vector product.

    Args:
        sidecar: The trace's.
        name: The device's name in the trace, "" where it has none; None for the host.

    Returns:
        None where nothing was measured, or on another device.
    """
    if sidecar is None or not _is_of(sidecar, name):
        return None
    usable = [c for c in sidecar.ceilings if 0 < c.per_second < _MOST_PER_SECOND]
    products = [c for c in usable if c.name == "matmul" and c.dtype in DTYPE_KEYS]
    widest = max((c for c in usable if c.unit == "bytes"), key=lambda c: c.per_second, default=None)
    if not products or widest is None:
        return None
    spec = DeviceSpec(
        name=sidecar.device.name,
        vendor="",
        peak_flops={c.dtype: round(c.per_second) for c in products},
        bandwidth_bytes_per_s=round(widest.per_second),
        source=_source([*products, widest], sidecar.recorded_at),
        memory_bytes=sidecar.device.memory_bytes,
    )
    return DeviceMatch(spec, MEASURED)


def _is_of(sidecar: Sidecar, name: str | None) -> bool:
    if name is None or sidecar.device.type == _HOST:
        return name is None and sidecar.device.type == _HOST
    return name in {"", sidecar.device.name}


def _source(used: Sequence[Ceiling], recorded_at: str) -> str:
    """When and how; a busy machine reaches less, so its load is told."""
    when = max(c.measured_at for c in used) or f"at {recorded_at} or before"
    load = max(c.load_average or 0.0 for c in used)
    busy = f", load average {load:.1f}" if isfinite(load) and load else ""
    how = "; ".join(f"{c.dtype} {c.name}: {c.method}" for c in used)
    return f"{MEASURED}, {when}{busy}: {how}"
