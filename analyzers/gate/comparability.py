"""Whether the numbers of two recordings may be compared, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from mmprof.analyzers.gate.metrics import DeviceMetrics
from mmprof.analyzers.gate.setup import Setup

Recorded: TypeAlias = tuple[Setup, Sequence[DeviceMetrics]]
"""A recording: its conditions and its devices."""

_NAMES: Final = {
    "world_size": "number of ranks",
    "machine": "machine",
    "threads": "threads of an operator",
}
_HOST: Final = -1


class Comparison(Struct, frozen=True):
    """What differs between two recordings beside the numbers.

    Attributes:
        refused: What makes the numbers incomparable.
        noted: What may explain a difference, and is no reason to refuse.
    """

    refused: list[str] = []
    noted: list[str] = []


def compared(before: Recorded, after: Recorded) -> Comparison:
    """Compare the conditions of two recordings; what one of them does not say is taken as equal."""
    return Comparison(list(_refused(before, after)), list(_noted(before, after)))


def _refused(before: Recorded, after: Recorded) -> Iterator[str]:
    one, other = before[0], after[0]
    if one.window != other.window:
        yield _differs("window", one.window or "all", other.window or "all")
    yield from _other_work(one, other)
    yield from _other_manner(one, other)
    devices = {(d.rank, d.device): d for d in before[1]}
    for device in after[1]:
        if known := devices.get((device.rank, device.device)):
            yield from _other_device(known, device)
        else:
            yield f"{_place(device)} is not in the baseline"


def _other_work(one: Setup, other: Setup) -> Iterator[str]:
    if one.workload and other.workload:
        if one.workload != other.workload:
            yield _differs("workload", one.workload, other.workload)
            return
        for name in sorted({*one.arguments, *other.arguments}):
            values = (one.arguments.get(name), other.arguments.get(name))
            if values[0] != values[1]:
                yield _differs(f"argument {name} of the workload", *values)
    if one.modules and other.modules and set(one.modules).isdisjoint(other.modules):
        yield _differs("model", ", ".join(one.modules), ", ".join(other.modules))


def _other_manner(one: Setup, other: Setup) -> Iterator[str]:
    for name in sorted(one.options.keys() & other.options.keys()):
        if one.options[name] != other.options[name]:
            yield _differs(
                f"profiler option {name}", _on(one.options[name]), _on(other.options[name])
            )
    for name, words in _NAMES.items():
        values = (getattr(one, name), getattr(other, name))
        if all(values) and values[0] != values[1]:
            yield _differs(words, *values)


def _other_device(one: DeviceMetrics, other: DeviceMetrics) -> Iterator[str]:
    place = _place(other)
    if one.name and other.name and one.name != other.name:
        yield _differs(f"{place}: device", one.name, other.name)
    if one.step != other.step:
        yield _differs(f"{place}: what a step is", one.step, other.step)
    elif set(one.steps) != set(other.steps):
        yield _differs(f"{place}: number of steps", *(_listed(d.steps) for d in (one, other)))


def _noted(before: Recorded, after: Recorded) -> Iterator[str]:
    one, other = before[0].torch, after[0].torch
    if one and other and one != other:
        yield _differs("version of torch", one, other)
    found = {(device.rank, device.device) for device in after[1]}
    for device in before[1]:
        if (device.rank, device.device) not in found:
            yield f"{_place(device)} is in the baseline only, and was not checked"


def _place(device: DeviceMetrics) -> str:
    where = "host" if device.device == _HOST else f"device {device.device}"
    return f"rank {device.rank}, {where}"


def _differs(what: str, before: object, after: object) -> str:
    return f"{what}: {before} before, {after} now"


def _on(value: bool) -> str:  # noqa: FBT001  (the value of an option)
    return "on" if value else "off"


def _listed(counts: Sequence[int]) -> str:
    return " or ".join(str(count) for count in sorted(set(counts)))
