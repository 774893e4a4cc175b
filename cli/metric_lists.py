"""The metrics of a check as tables: those that there are, and those of a run with their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mmprof.analyzers.gate.metrics import CATALOG, DeviceMetrics
from mmprof.cli.grid import Grid
from mmprof.cli.renderers import units

SCHEMA: Final = "mmprof.metrics/1"


def catalog() -> Grid:
    """What a condition can name, with unit and meaning."""
    rows = [(name, unit, meaning) for name, (unit, meaning) in CATALOG.items()]
    return Grid(
        ("metric", "unit", "meaning"),
        rows,
        SCHEMA,
        note="Every number that `analyze --fail-on` knows is a metric as well. `mmprof check TRACE --list-metrics` shows "
        "those of a trace.",
    )


def listed_metrics(devices: Iterable[DeviceMetrics]) -> Grid:
    """The metrics of a run that are not 0, with value and number of samples."""
    columns = ("metric", "shown", "value", "unit", "samples", "rank", "device")
    return Grid(columns, [row for device in devices for row in _rows(device)], SCHEMA)


def _rows(device: DeviceMetrics) -> Iterator[tuple[Any, ...]]:
    for name, metric in device.metrics.items():
        if metric.value:
            shown = units.quantity(metric.value, metric.unit)
            samples = sum(len(run) for run in device.samples(name))
            yield name, shown, metric.value, metric.unit, samples, device.rank, device.device
