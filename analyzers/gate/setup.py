"""Under what conditions a trace was recorded, as far as they decide whether its numbers may be compared with another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from mmprof.analyzers.diff.facts import recording
from mmprof.analyzers.sidecar import Argument

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.analyzers.sidecar import Sidecar
    from mmprof.analyzers.trace import Trace

MOST_MODULES = 20
"""Outermost modules that are kept: a model has one, a pipeline a handful."""


class Setup(Struct, frozen=True):
    """Under what conditions a trace was recorded; empty where nobody says.

    Attributes:
        window: The part of the trace that was measured; empty for all of it.
        workload: Name of the workload, from the sidecar.
        arguments: Of that workload.
        modules: Classes of the outermost modules that launched work, sorted.
        options: Options of the profiler that were on or off.
        world_size: Ranks of the run.
        machine: Name of the device or processor, from the sidecar.
        threads: Threads of an operator, from the sidecar; 0 where unknown.
        torch: Version of torch.
    """

    window: str = ""
    workload: str = ""
    arguments: dict[str, Argument] = field(default_factory=dict)
    modules: list[str] = []
    options: dict[str, bool] = {}
    world_size: int = 1
    machine: str = ""
    threads: int = 0
    torch: str = ""


def setup_of(trace: Trace, reports: Sequence[DeviceReport], window: str) -> Setup:
    """Read what is known of a recording.

    Args:
        trace: The trace.
        reports: The analyses of its devices.
        window: The part of it that was measured.
    """
    known, sidecar = recording(trace), trace.sidecar
    return Setup(
        window=window,
        workload=known.workload,
        arguments=dict(known.arguments),
        modules=_outermost_modules(reports),
        options=dict(known.options),
        world_size=known.world_size,
        machine=_machine(sidecar) if sidecar else "",
        threads=sidecar.host.threads if sidecar else 0,
        torch=known.torch,
    )


def _machine(sidecar: Sidecar) -> str:
    return sidecar.device.name or sidecar.host.cpu


def _outermost_modules(reports: Sequence[DeviceReport]) -> list[str]:
    rows = (row for report in reports for row in report.value("module_kinds"))
    found = {row.module_class or row.pattern for row in rows if row.depth == 1 and row.pattern}
    return sorted(found)[:MOST_MODULES]
