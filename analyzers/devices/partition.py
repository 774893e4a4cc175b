"""Peaks of a part of a board: an NVIDIA MIG instance, an AMD compute partition."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from mmprof.analyzers.devices.properties import memory_fits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmprof.analyzers.devices.properties import DeviceProperties
    from mmprof.analyzers.devices.spec import DeviceSpec


def partition_of(spec: DeviceSpec, device: DeviceProperties) -> tuple[DeviceSpec, str]:
    """The part of a board that a trace saw, and what to say of it.

    A partition reports the board's name with fewer SMs. Its compute is proportional to its SMs,
    its bandwidth to its memory: memory slices are whole memory channels (NVIDIA MIG user guide,
    AMD CDNA 3 whitepaper). Partitions that share all memory may reach the full bandwidth.

    Returns:
        The board as it is and "" where the trace does not contradict it; a board with more SMs
        or other memory than the table's stays as it is, and the text says so.
    """
    if device.num_sms is not None and spec.num_sms is not None and device.num_sms < spec.num_sms:
        return _scaled(spec, device, Fraction(device.num_sms, spec.num_sms))
    if device.num_sms in (None, spec.num_sms) and memory_fits(spec, device):
        return spec, ""
    return spec, f"; it reports {' and '.join(device.quantities())}, unlike the table's board"


def _scaled(
    spec: DeviceSpec, device: DeviceProperties, sm_share: Fraction
) -> tuple[DeviceSpec, str]:
    what = f"{device.num_sms} of {spec.num_sms} SMs"
    part = replace(
        spec,
        name=f"{spec.name} ({what})",
        peak_flops=_times(spec.peak_flops, sm_share),
        vector_flops=_times(spec.vector_flops, sm_share),
        bandwidth_bytes_per_s=round(spec.bandwidth_bytes_per_s * _memory_share(spec, device)),
        source=f"{spec.source}; scaled to {what}",
        memory_bytes=device.memory_bytes or spec.memory_bytes,
        num_sms=device.num_sms,
    )
    return part, f"; a partition with {what}"


def _memory_share(spec: DeviceSpec, device: DeviceProperties) -> Fraction:
    if memory_fits(spec, device) or device.memory_bytes is None or spec.memory_bytes is None:
        return Fraction(1)
    return min(Fraction(1), Fraction(device.memory_bytes, spec.memory_bytes))


def _times(rates: Mapping[str, int], share: Fraction) -> Mapping[str, int]:
    return {dtype: round(rate * share) for dtype, rate in rates.items()}
