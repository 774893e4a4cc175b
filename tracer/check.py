"""Whether the profiler records what it should on this machine's devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch.profiler import profile

from mmprof.tracer.devices import CPU, accelerator, activities_of, count_of, synchronize
from mmprof.tracer.machine import device_facts

_SIDE: Final = 64


def profiler_checks() -> Iterator[tuple[str, str, str]]:
    """For the host and the accelerator: what it is, what the profiler recorded there, and what to try where that is nothing."""
    for device in filter(None, (CPU, accelerator())):
        facts = device_facts(device)
        yield f"device {device}", f"{count_of(device)} x {facts.name}", ""
        events = recorded_events(device)
        hint = "" if events else _hint(device)
        yield f"profiler on {device}", f"{events:,} events", hint


def recorded_events(device: str) -> int:
    """How many activities of a device the profiler records for a matrix product; of the host, operators."""
    with profile(activities=activities_of(device)) as recorded:
        square = torch.ones(_SIDE, _SIDE, device=device)
        torch.mm(square, square)
        synchronize(device)
    return sum(event.device_type.name == device.upper() for event in recorded.events())


def _hint(device: str) -> str:
    if device == CPU:
        return "another build of torch: this one has no Kineto"
    return "end other profilers (nsys, ncu, dcgm) that hold the device; allow its counters to users"
