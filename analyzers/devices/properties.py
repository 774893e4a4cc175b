"""One entry of Kineto's `deviceProperties`, of which any key may be missing or malformed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmprof.analyzers.devices.spec import DeviceSpec

# Threads of a warp (NVIDIA) or wavefront (AMD Instinct): it tells CUDA's 9.0 from ROCm's gfx90a.
_WARP_SIZE: Final = {"NVIDIA": 32, "AMD": 64}

# Of the nominal capacity: ECC takes a sixteenth of GDDR6, firmware a little more.
_MEMORY_SHARE: Final = (0.90, 1.01)

# No GPU with CUDA 11 or ROCm runs fewer threads per SM; see `_num_sms`.
_FEWEST_THREADS_PER_SM: Final = 1024

_BYTES_PER_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class DeviceProperties:
    """What a trace says of a device; None where it says nothing usable.

    Attributes:
        name: The driver's name, "" if none.
        compute_capability: (major, minor).
        num_sms: Streaming multiprocessors or compute units.
        memory_bytes: Total device memory.
        warp_size: Threads of a warp or wavefront.
    """

    name: str
    compute_capability: tuple[int, int] | None
    num_sms: int | None
    memory_bytes: int | None
    warp_size: int | None

    def quantities(self) -> list[str]:
        """SM count and memory for people, those that are known: `["132 SMs", "79 GiB"]`."""
        unit = "CUs" if self.warp_size == _WARP_SIZE["AMD"] else "SMs"
        sms = [] if self.num_sms is None else [f"{self.num_sms} {unit}"]
        if self.memory_bytes is None:
            return sms
        return [*sms, f"{self.memory_bytes / _BYTES_PER_GIB:.0f} GiB"]


def read_properties(raw: Mapping[str, object]) -> DeviceProperties:
    """Read one raw entry; a key of the wrong type counts as missing."""
    name = raw.get("name")
    return DeviceProperties(
        name=name if isinstance(name, str) else "",
        compute_capability=_compute_capability(raw),
        num_sms=_num_sms(raw),
        memory_bytes=_positive_int(raw.get("totalGlobalMem")),
        warp_size=_positive_int(raw.get("warpSize")),
    )


def fits(spec: DeviceSpec, device: DeviceProperties) -> bool:
    """Whether nothing that is known of `device` speaks against `spec`."""
    return (
        device.num_sms in (None, spec.num_sms)
        and device.warp_size in (None, _WARP_SIZE.get(spec.vendor))
        and memory_fits(spec, device)
    )


def memory_fits(spec: DeviceSpec, device: DeviceProperties) -> bool:
    """Whether the reported memory may be that of `spec`; True where either is unknown."""
    if device.memory_bytes is None or spec.memory_bytes is None:
        return True
    low, high = _MEMORY_SHARE
    return low <= device.memory_bytes / spec.memory_bytes <= high


def listing(parts: Sequence[str]) -> str:
    """`a, b and c`; at least one part."""
    *head, last = parts
    return f"{', '.join(head)} and {last}" if head else last


def _compute_capability(raw: Mapping[str, object]) -> tuple[int, int] | None:
    major, minor = _positive_int(raw.get("computeMajor")), raw.get("computeMinor")
    if major is None or not isinstance(minor, int):
        return None
    return major, minor


def _num_sms(raw: Mapping[str, object]) -> int | None:
    """The SM count; PyTorch's own exporter writes it under `maxThreadsPerMultiprocessor`."""
    threads = _positive_int(raw.get("maxThreadsPerMultiprocessor"))
    misplaced = threads if threads is not None and threads < _FEWEST_THREADS_PER_SM else None
    return _positive_int(raw.get("numSms")) or misplaced


def _positive_int(value: object) -> int | None:
    # bool is an int, and a flag is no quantity.
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return value
