"""Traces to metrics: one load, one analysis and the samples of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from mmprof.analyzers.analyze import Report, device_report, trace_files, views
from mmprof.analyzers.contract import analysis_document
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.comparability import compared
from mmprof.analyzers.gate.metrics import DeviceMetrics, device_metrics, merged
from mmprof.analyzers.gate.samples import main_steps, phase_steps
from mmprof.analyzers.gate.setup import Setup, setup_of
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import DeviceReport, Options
    from mmprof.analyzers.trace import InputFacts, Trace
    from mmprof.analyzers.view import View


@dataclass(frozen=True)
class Measured:
    """What was measured in one or several traces.

    Attributes:
        inputs: The trace files.
        setup: Under what conditions they were recorded.
        devices: By rank and device; traces of the same rank are runs of the same work.
        reports: The analyses behind these numbers, one for each trace and device.
    """

    inputs: tuple[InputFacts, ...]
    setup: Setup
    devices: tuple[DeviceMetrics, ...]
    reports: tuple[DeviceReport, ...] = ()


@dataclass(frozen=True)
class _One:
    """One trace."""

    facts: InputFacts
    setup: Setup
    devices: list[DeviceMetrics]
    reports: list[DeviceReport]


def measure(paths: Sequence[str], options: Options) -> Measured:
    """Measure trace files, or folders that hold one trace per rank.

    Unlike an analysis, which leaves out what it cannot read, all inputs have to be readable: a gate that looked at less
    than it was given would be open.

    Raises:
        MmprofError: An input cannot be read, nothing matches the options, or the inputs were not recorded alike.
    """
    files = [file for path in paths for file in trace_files(path)]
    found = [one for file in files if (one := _measured(load(file), options)).devices]
    if not found:
        raise MmprofError(
            "MM-E022",
            "nothing in the input matches the selection",
            hint="leave out --rank and --device to see what there is",
        )
    _require_alike(found)
    reports = [replace(r, input=at) for at, one in enumerate(found) for r in one.reports]
    devices = tuple(merged(same) for same in _by_place(found))
    inputs = tuple(one.facts for one in found)
    return Measured(inputs, found[0].setup, devices, tuple(reports))


def _measured(trace: Trace, options: Options) -> _One:
    wanted = options.rank in (None, trace.rank)
    both = [_of_view(view) for view in views(trace, options)] if wanted else []
    reports = [report for report, _ in both]
    setup = setup_of(trace, reports, options.window)
    return _One(trace.facts, setup, [metrics for _, metrics in both], reports)


def _of_view(view: View) -> tuple[DeviceReport, DeviceMetrics]:
    report = device_report(view)
    document = analysis_document(Report(inputs=(view.trace.facts,), devices=(report,)))
    return report, device_metrics(document, main_steps(view), phase_steps(view))


def _by_place(found: Sequence[_One]) -> Iterator[list[DeviceMetrics]]:
    every = [metrics for one in found for metrics in one.devices]
    for place in sorted({(d.rank, d.device) for d in every}):
        yield [d for d in every if (d.rank, d.device) == place]


def _require_alike(found: Sequence[_One]) -> None:
    """Check that traces of the same rank are runs of the same work."""
    for one, other in combinations(found, 2):
        same = {(d.rank, d.device) for d in one.devices} & {
            (d.rank, d.device) for d in other.devices
        }
        if same and one.facts.sha256 == other.facts.sha256:
            raise MmprofError(
                "MM-E082",
                f"{one.facts.path} and {other.facts.path} are one recording",
                found="the same bytes, which say nothing of how runs differ",
                hint="give each recording once",
            )
        reasons = (
            compared((one.setup, one.devices), (other.setup, other.devices)).refused if same else ()
        )
        if reasons:
            raise MmprofError(
                "MM-E082",
                f"{one.facts.path} and {other.facts.path} are of the same rank, and not runs of the same work",
                found="; ".join(reasons),
                hint="runs of the same work, or a check of each by itself",
            )
