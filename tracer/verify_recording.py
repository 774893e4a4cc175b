"""Where the time of a recorded request goes, and what changed of that from one request to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mmprof.analyzers.analyze import DeviceReport, analyze
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.verify_results import ChangedTime, RecordedRequest


def recorded_request(trace: Path) -> RecordedRequest | None:
    """What a trace of one request says, of its busiest device; None where nothing can be read from it."""
    try:
        devices = analyze([str(trace)]).devices
    except MmprofError:
        return None
    return _of_device(max(devices, key=lambda device: int(device.value("busy_ns"))))


def _of_device(device: DeviceReport) -> RecordedRequest | None:
    window_ns = int(device.value("window_ns"))
    if not window_ns:
        return None
    return RecordedRequest(
        window_ns=window_ns,
        classes_ns={row.class_: row.time_ns for row in device.value("classes")},
        causes_ns={row.cause: row.time_ns for row in device.value("idle_causes")},
    )


def changed_times(
    before: RecordedRequest | None, after: RecordedRequest | None
) -> list[ChangedTime]:
    """Busy time by class and idle time by cause of two requests, the largest change first.

    The rows sum to the windows exactly, as those of `mmprof diff` do. Empty where one of the requests was not recorded.
    """
    if before is None or after is None:
        return []
    busy = _changed(before.classes_ns, after.classes_ns, idle=False)
    idle = _changed(before.causes_ns, after.causes_ns, idle=True)
    return sorted([*busy, *idle], key=lambda row: (-abs(row.delta_ns), row.idle, row.key))


def _changed(
    before: Mapping[str, int], after: Mapping[str, int], *, idle: bool
) -> Iterator[ChangedTime]:
    for key in before.keys() | after.keys():
        old, new = before.get(key, 0), after.get(key, 0)
        yield ChangedTime(key=key, idle=idle, before_ns=old, after_ns=new, delta_ns=new - old)
