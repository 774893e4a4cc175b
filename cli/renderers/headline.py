"""What an expert would say first about a device, in three sentences."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mmprof.cli.renderers import units
from mmprof.cli.renderers.safe import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmprof.analyzers.analyses.overhead import Overhead
    from mmprof.analyzers.analyze import DeviceReport, Report
    from mmprof.analyzers.findings import Finding

NAME_COLUMNS: Final = 48
TITLE_COLUMNS: Final = 60
HOST_DEVICE: Final = -1
CAUSE_LABELS: Final = {"outside": "other work"}
_BOUND_BY: Final = {
    "compute": "is compute-bound",
    "memory": "is memory-bound",
    "latency": "is latency-bound (too little work per kernel)",
}
_SEVERITIES: Final = ("high", "medium", "low")
_CLAUSE_END: Final = re.compile(r"[:;,] ")
_TELLING_SHARE: Final = 0.10


def headline(device: DeviceReport) -> str:
    """Busy and idle with the main causes, what busy time goes to, and what to do first."""
    if not device.value("window_ns"):
        return (
            f"{name_of(device)}: nothing ran in the window: no kernel, copy or operator is in it."
        )
    parts = (_timeline(device), _main_class(device), first_step(device.findings))
    return " ".join(part for part in parts if part)


def profiler_cost(device: DeviceReport) -> str:
    """How much the profiler slowed the run; empty if it is not known how long it takes without."""
    cost: Overhead = device.value("overhead")
    if cost.unprofiled_s is None:
        return ""
    without = f"{units.duration(1e9 * cost.unprofiled_s)} without it"
    if cost.ratio is None or cost.profiled_s is None:
        return f"The profiler recorded a part of this run: {without}."
    if cost.interval_s is not None and cost.profiled_s <= cost.interval_s[1]:
        return f"The profiler did not slow this run measurably: {without}."
    slower = f"The profiler made this run {units.factor(cost.ratio)} slower: {without}"
    return f"{slower}; python and dispatch idle are upper bounds."


def name_of(device: DeviceReport) -> str:
    """The device's name in one short line."""
    if device.device == HOST_DEVICE:
        return f"{label(device.name, NAME_COLUMNS)}, main thread"
    return label(device.name, NAME_COLUMNS) or f"device {device.device}"


def place_of(device: DeviceReport) -> str:
    """Rank and device index."""
    where = "host" if device.device == HOST_DEVICE else f"device {device.device}"
    return f"rank {device.rank}, {where}"


def ranks_repeat(devices: Sequence[DeviceReport]) -> bool:
    """Whether several inputs say the same rank, so that it does not tell them apart."""
    return len({(d.rank, d.input) for d in devices}) > len({d.rank for d in devices})


def cause_label(cause: str) -> str:
    """An idle cause in words."""
    return CAUSE_LABELS.get(cause, cause)


def worst(report: Report) -> DeviceReport:
    """The device that loses the most time: the largest idle time."""
    return max(report.devices, key=lambda device: device.value("idle_ns"))


def top_steps(findings: Sequence[Finding]) -> list[Finding]:
    """The findings by severity, then by what they can gain at most."""
    return sorted(findings, key=lambda f: (_SEVERITIES.index(f.severity), -f.gain.high))


def gain_of(finding: Finding) -> str:
    """What it can gain at most; empty if nothing can be said."""
    return f"at most {units.factor(finding.gain.high)}" if finding.gain.high > 1 else ""


def first_step(findings: Sequence[Finding]) -> str:
    """The most important finding as an instruction; empty if only little can be gained."""
    best = next(iter(top_steps(findings)), None)
    if best is None or best.severity == "low":
        return ""
    gain = gain_of(best)
    if best.lever and gain:
        return f"First try {_plain(best.lever)} ({best.code}): {gain}."
    what = label(_CLAUSE_END.split(best.title)[0], TITLE_COLUMNS)
    return f"First look at {best.code}: {what}{gain and f'; {gain}'}."


def _timeline(device: DeviceReport) -> str:
    window_ns, busy_ns, idle_ns = (device.value(f) for f in ("window_ns", "busy_ns", "idle_ns"))
    state = "in operators" if device.device == HOST_DEVICE else "busy"
    busy = f"{name_of(device)}: {state} {units.share_of(busy_ns, window_ns)} of {units.duration(window_ns)}"
    if not idle_ns:
        return f"{busy}, never idle."
    return f"{busy}; idle {units.share_of(idle_ns, window_ns)}{_causes(device, window_ns)}."


def _causes(device: DeviceReport, window_ns: int) -> str:
    rows = device.value("idle_causes")
    telling = [r for r in rows if r.time_ns >= _TELLING_SHARE * window_ns][:3] or rows[:1]
    if len(rows) == 1:
        return f", all {cause_label(rows[0].cause)}"
    listed = [f"{cause_label(r.cause)} ({units.share_of(r.time_ns, window_ns)})" for r in telling]
    return f", mostly {_and(listed)}" if listed else ""


def _main_class(device: DeviceReport) -> str:
    rows, busy_ns = device.value("classes"), device.value("busy_ns")
    if not rows or not busy_ns:
        return ""
    main = rows[0]
    takes = f"{_plain(main.class_).capitalize()} takes {units.share_of(main.time_ns, busy_ns)} of busy time"
    bound = _BOUND_BY.get(_bound_of(device, main.class_), "")
    return f"{takes} and {bound}." if bound else f"{takes}."


def _bound_of(device: DeviceReport, class_: str) -> str:
    """The bound of more than half of a class's time, read from its operators; empty if there is none."""
    times: Counter[str] = Counter()
    for row in _operators(device):
        times[row.bound] += row.time_ns if row.class_ == class_ else 0
    bound, time_ns = max(times.items(), key=lambda item: item[1], default=("", 0))
    return bound if 2 * time_ns > times.total() else ""


def _operators(device: DeviceReport) -> list[Any]:
    rows: list[Any] = device.value("ops")
    return rows


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
