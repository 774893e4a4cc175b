"""Memory that the allocator handed out: peak, growth, and the operators that allocated.

From the `[memory]` events that `profile_memory=True` records. A release is negative. Host memory is reported with the
first device of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis
from mmprof.analyzers.windows import inside

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

LARGEST_OPERATORS: Final = 20

_CPU: Final = 0
# c10/core/DeviceType.h
_DEVICE_TYPES: Final = {
    _CPU: "cpu",
    1: "cuda",
    6: "hip",
    12: "xpu",
    13: "mps",
    15: "hpu",
    19: "mtia",
    20: "privateuse1",
}
_PLACE: Final = ("device_type", "device")


class MemoryRow(Struct, frozen=True):
    """Allocated memory of one device.

    Attributes:
        device_type: cpu, cuda, hip, xpu, ... or the number that the trace has.
        device_index: Index of the device; -1 for the host.
        totals_recorded: Whether the trace has the allocator's totals; else they are rebuilt from 0 at the first event.
        first_bytes: Allocated before the first event.
        last_bytes: Allocated after the last event.
        growth_bytes: last_bytes - first_bytes.
        peak_bytes: Largest total.
        peak_at_ns: When the peak was first reached, on the trace's clock.
        allocations: Number of allocations.
        frees: Number of releases.
        allocated_bytes: Sum of the allocations.
    """

    device_type: str
    device_index: int
    totals_recorded: bool
    first_bytes: int
    last_bytes: int
    growth_bytes: int
    peak_bytes: int
    peak_at_ns: int
    allocations: int
    frees: int
    allocated_bytes: int


class MemoryOperatorRow(Struct, frozen=True):
    """Allocations and releases of one operator on one kind of device.

    Attributes:
        operator: Innermost operator that ran on the thread; empty for none.
        device_type: cpu, cuda, hip, xpu, ... or the number that the trace has.
        allocations: Number of allocations.
        frees: Number of releases.
        allocated_bytes: Sum of the allocations.
        net_bytes: Allocations less releases, whoever had allocated what was released.
    """

    operator: str
    device_type: str
    allocations: int
    frees: int
    allocated_bytes: int
    net_bytes: int


class Memory(Struct, frozen=True):
    """Allocated memory.

    Attributes:
        memory_recorded: Whether the trace has memory events for this device or the host, in this window.
        memory: By device, the host last.
        memory_operators: The operators that allocated most.
    """

    memory_recorded: bool = False
    memory: list[MemoryRow] = []
    memory_operators: list[MemoryOperatorRow] = []


@analysis(
    "trace",
    Table(
        "memory",
        "Memory",
        "device_type",
        (
            "device_index",
            "peak_bytes",
            "first_bytes",
            "last_bytes",
            "growth_bytes",
            "allocations",
            "frees",
            "allocated_bytes",
        ),
        by="memory",
    ),
    Table(
        "memory_operators",
        "Memory by operator",
        "operator",
        ("device_type", "allocated_bytes", "net_bytes", "allocations", "frees"),
        by="memory-operator",
    ),
)
def memory(view: View) -> Memory:
    """Follow the allocator's totals, and sum the events by the operator around them."""
    events = _events(view)
    if events.is_empty():
        return Memory()
    places = [_place(part) for part in events.partition_by(_PLACE, maintain_order=True)]
    places.sort(
        key=lambda row: (row.device_type == _DEVICE_TYPES[_CPU], row.device_type, row.device_index)
    )
    return Memory(
        memory_recorded=True, memory=places, memory_operators=_by_operator(events, view.trace.host)
    )


def _events(view: View) -> pl.DataFrame:
    """Memory events of the view's device, and of the host with the first view, by time.

    Memory events name a device as torch numbers it, activities as the driver does: they differ where some devices are
    hidden from the process. So all device memory is the view's where the trace has activities of one device or none.
    """
    trace, used = view.trace, view.trace.activities["device"]
    on_host = pl.col("device_type") == _CPU
    here = ~on_host if used.n_unique() <= 1 else ~on_host & (pl.col("device") == view.device)
    if view.is_host or view.device == used.min():
        here = here | on_host
    events = trace.memory.filter(here & pl.col("bytes").is_not_null()).sort(
        "start_ns", maintain_order=True
    )
    return (
        events
        if view.spans is None
        else events.filter(inside(view.spans.sort("start_ns"), events["start_ns"]))
    )


def _place(events: pl.DataFrame) -> MemoryRow:
    recorded = events["total_allocated"].null_count() == 0
    moved, total = (
        events["bytes"],
        events["total_allocated"] if recorded else events["bytes"].cum_sum(),
    )
    first, last = int(total[0] - moved[0]), int(total[-1])
    peak = max(first, int(total.max()))  # type: ignore[arg-type]
    at = events["start_ns"].filter(total == peak)
    return MemoryRow(
        device_type=_device_type(events["device_type"][0]),
        device_index=int(events["device"][0]),
        totals_recorded=recorded,
        first_bytes=first,
        last_bytes=last,
        growth_bytes=last - first,
        peak_bytes=peak,
        peak_at_ns=int(at[0] if at.len() else events["start_ns"][0]),
        allocations=int((moved > 0).sum()),
        frees=int((moved < 0).sum()),
        allocated_bytes=int(moved.clip(0).sum()),
    )


def _device_type(number: int) -> str:
    return _DEVICE_TYPES.get(number, f"device type {number}")


def _by_operator(events: pl.DataFrame, host: pl.DataFrame) -> list[MemoryOperatorRow]:
    parts = [_with_operator(part, host) for part in events.partition_by("thread")]
    moved = pl.col("bytes")
    sums = (
        pl.concat(parts)
        .group_by("operator", "device_type")
        .agg(
            allocations=(moved > 0).sum().cast(pl.Int64),
            frees=(moved < 0).sum().cast(pl.Int64),
            allocated_bytes=moved.clip(0).sum(),
            net_bytes=moved.sum(),
        )
        .sort("allocated_bytes", "operator", "device_type", descending=[True, False, False])
        .head(LARGEST_OPERATORS)
    )
    return [
        MemoryOperatorRow(operator, _device_type(number), *numbers)
        for operator, number, *numbers in sums.iter_rows()
    ]


def _with_operator(events: pl.DataFrame, host: pl.DataFrame) -> pl.DataFrame:
    """Events of one thread with the name of the innermost operator around each, empty for none."""
    on_thread = (pl.col("kind") == c.OPERATOR) & (pl.col("thread") == events["thread"][0])
    lasts = pl.col("end_ns") > pl.col("start_ns")
    operators = host.select("kind", "thread", "name", "start_ns", "end_ns").filter(
        on_thread & lasts
    )
    row = _innermost(operators["start_ns"], operators["end_ns"], events["start_ns"])
    return events.with_columns(operator=operators["name"].gather(row).cast(pl.String).fill_null(""))


def _innermost(starts: pl.Series, ends: pl.Series, times: pl.Series) -> pl.Series:
    """For each time, the position of the innermost of properly nested, ordered spans around it; null for none. No span is empty.

    A span's depth is the number of spans opened before it less those closed by then. The innermost around a time is the
    last one opened by then whose depth is the number of open spans less one.
    """
    row = pl.int_range(len(starts), dtype=pl.Int64, eager=True)
    closed = ends.sort()
    depth = row - closed.search_sorted(starts, side="right").cast(pl.Int64)
    by_depth = (depth * len(starts) + row).sort()
    opened = starts.search_sorted(times, side="right").cast(pl.Int64)
    level = opened - closed.search_sorted(times, side="right").cast(pl.Int64) - 1
    found = by_depth.search_sorted(level * len(starts) + opened, side="left").cast(pl.Int64) - 1
    inside_one = pl.select(pl.when(level >= 0).then(found)).to_series()
    return by_depth.gather(inside_one) % max(1, len(starts))
