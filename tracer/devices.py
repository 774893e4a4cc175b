"""The devices that torch can use: which there are, what to record on them, when their work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import torch
from torch.profiler import ProfilerActivity, supported_activities

from mmprof.analyzers.choices import choose
from mmprof.analyzers.errors import MmprofError

AUTO: Final = "auto"
CPU: Final = "cpu"

# ROCm's devices are of type cuda, and the profiler calls their activities so.
_ACTIVITIES: Final = {"cuda": ProfilerActivity.CUDA, "xpu": ProfilerActivity.XPU}


def accelerator() -> str:
    """The type of the accelerator that is present; empty without one."""
    present = [kind for kind in _ACTIVITIES if getattr(torch, kind).is_available()]
    return present[0] if present else ""


def resolve_device(name: str) -> str:
    """The torch device that a word names; `auto` is the accelerator where there is one.

    Raises:
        MmprofError: There is no such device here.
    """
    if name == AUTO:
        return accelerator() or CPU
    kind, _, index = name.partition(":")
    present = [CPU, *filter(None, [accelerator()])]
    if kind in _ACTIVITIES and kind not in present:
        raise MmprofError(
            "MM-E053",
            f"torch {torch.__version__} sees no device of type {kind} here",
            found=", ".join(present),
            hint="--device auto, or a build of torch for it; `mmprof doctor` shows what is installed",
        )
    chosen = choose(kind, present, what="the device", code="MM-E053", otherwise="--device auto")
    if index and not (index.isdigit() and int(index) < count_of(chosen)):
        raise MmprofError(
            "MM-E053",
            f"the device {name!r} does not exist",
            found=f"{count_of(chosen)} of type {chosen}",
            hint=f"{chosen}:0",
        )
    return f"{chosen}:{index}" if index else chosen


def count_of(kind: str) -> int:
    """How many devices of a type the process sees."""
    return int(getattr(torch, kind).device_count()) if kind in _ACTIVITIES else 1


def activities_of(device: str) -> list[ProfilerActivity]:
    """What to record when a workload runs on a device: the host always, the device where the profiler can."""
    kind = _ACTIVITIES.get(device.partition(":")[0])
    known = cast("Callable[[], set[ProfilerActivity]]", supported_activities)()
    return [ProfilerActivity.CPU, *([kind] if kind in known else [])]


def synchronize(device: str) -> None:
    """Wait until a device has done everything that was launched."""
    kind = device.partition(":")[0]
    if kind in _ACTIVITIES:
        getattr(torch, kind).synchronize(device)
