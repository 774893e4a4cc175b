"""What a characterization is asked: one section a question, with its table, its bars and where its numbers come from.

The questions are those of the abstract of arXiv 2410.00215, which each section names as far as it answers them. No number of
that paper stands here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers import units
from mmprof.tracer.characterize_measure import ridge_of

if TYPE_CHECKING:
    from mmprof.tracer.characterize_results import (
        Characterization,
        ClassResult,
        Latency,
        Part,
        PhaseResult,
        Range,
        Sweep,
        TaskResult,
    )

PAPER: Final = "arXiv 2410.00215"
NOTHING: Final = "-"
MOST_CLASSES: Final = 7
_COMPARED: Final = ("linear", "attention")
_BOUNDS: Final = ("memory", "compute", "latency", "transfer", "communication", "unknown")
_AXES: Final = {
    "length": ("How does latency grow with the length of the input?", "tokens or frames in"),
    "output": ("How does latency grow with the length of the output?", "tokens or steps out"),
    "batch": ("What does a larger batch bring?", "batch"),
}

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """One bar of a figure.

    Attributes:
        label: What it is of.
        parts: Names and amounts, in the order in which they are drawn; of all strips of a section the same names are the same
            parts.
        total: What stands behind it.
        length: Its length as a share of the longest.
    """

    label: str
    parts: tuple[tuple[str, float], ...]
    total: str
    length: float = 1.0


@dataclass(frozen=True, slots=True)
class Section:
    """One question and its answer.

    Attributes:
        question: The heading.
        claim: What the paper's abstract says of it; empty where nothing.
        columns: Headings; the first `texts` columns are text, the others numbers.
        rows: Cells as text.
        origin: Where the numbers come from.
        texts: Number of text columns.
        strips: Bars; may be empty.
        idle: Names of parts that are idle time.
    """

    question: str
    columns: Row
    rows: Sequence[Row]
    origin: str
    claim: str = ""
    texts: int = 1
    strips: Sequence[Strip] = ()
    idle: frozenset[str] = frozenset()


def sections(found: Characterization) -> list[Section]:
    """All sections that have an answer."""
    made = [make(found) for make in _SECTIONS]
    return [section for section in (*made, *_sweeps(found)) if section.rows]


def facts(found: Characterization) -> list[str]:
    """What was run, where, and what must be known to read the numbers; text of the machine is not yet made safe."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    host, busy = found.host, [t.load_average for t in found.tasks if t.load_average is not None]
    load = f", load average {min(busy):.1f} to {max(busy):.1f}" if busy else ""
    lines = [
        f"Size {found.size}, {found.dtype}, on {found.device.name}; {found.made_at[:10]}",
        f"Host: {host.cpu}, cores {host.cores}, threads per operator {host.threads}{load}",
        f"Versions: {versions}",
        f"Recordings of each task: {found.tasks[0].recordings}; ranges: {found.origins['range']}.",
        f"Claims are those of the abstract of {PAPER}; no number here is the paper's.",
    ]
    if found.host_is_device:
        lines.append(
            "No accelerator: the main thread stands for the device. Busy is time inside operators, idle is time between them "
            "(python, dispatch); what holds for the idle time of a GPU cannot be read from it."
        )
    return [*lines, *_notes(found)]


def _notes(found: Characterization) -> Iterator[str]:
    for task in found.tasks:
        yield from (f"{task.label}: {note}" for note in task.notes)
    for skipped in found.skipped:
        yield f"Skipped: {skipped.what}: {skipped.reason}"


def _latency(found: Characterization) -> Section:
    rows = [(task.label, str(task.steps or NOTHING), *_timed(task.latency)) for task in found.tasks]
    return Section(
        "How long does a request take?",
        ("task", "steps", *_TIMED),
        rows,
        found.origins["latency"],
    )


_TIMED: Final = ("median", "interval", "runs", "requests/s", "tokens/s", "with profiler")


def _timed(latency: Latency) -> Row:
    return (
        units.duration(1e9 * latency.median_s),
        f"{units.duration(1e9 * latency.low_s)} to {units.duration(1e9 * latency.high_s)}",
        str(latency.runs),
        units.number(latency.requests_per_s),
        NOTHING if latency.tokens_per_s is None else units.number(latency.tokens_per_s),
        NOTHING if latency.slowdown is None else units.factor(latency.slowdown),
    )


def _phases(found: Characterization) -> Section:
    rows = [
        (
            task.label,
            phase.phase,
            units.count(phase.count) if phase.count else NOTHING,
            *_ranged(phase.share),
            NOTHING if phase.seconds is None else units.duration(1e9 * phase.seconds),
            units.share(phase.idle_share.value),
            units.duration(phase.instance_ns) if phase.count else NOTHING,
        )
        for task in found.tasks
        for phase in task.phases
    ]
    columns = ("task", "phase", "count", "of time", "range", "about", "idle", "profiled instance")
    return Section(
        "Which phase takes the time?",
        columns,
        rows,
        found.origins["phases"],
        claim="auto-regressive token generation is a critical latency bottleneck",
        texts=2,
        strips=[
            _strip(task, [(p.phase, p.share.value) for p in task.phases]) for task in found.tasks
        ],
        idle=frozenset({"other"}),
    )


def _strip(task: TaskResult, parts: Sequence[tuple[str, float]]) -> Strip:
    return Strip(task.label, tuple(parts), units.duration(1e9 * task.latency.median_s))


def _idle(found: Characterization) -> Section:
    causes = _names(task.idle_causes for task in found.tasks)
    rows = [
        (task.label, *_ranged(task.idle_share), *_cells(task.idle_causes, causes))
        for task in found.tasks
    ]
    strips = [
        _strip(task, [("busy", 1 - task.idle_share.value), *_pairs(task.idle_causes)])
        for task in found.tasks
    ]
    return Section(
        "How much of the time is the device idle, and why?",
        ("task", "idle", "range", *causes),
        rows,
        found.origins["idle"],
        claim="token generation is typically dominated by GPU idle time",
        strips=strips,
        idle=frozenset(causes),
    )


def _classes(found: Characterization) -> Section:
    names = _names(task.classes for task in found.tasks)[:MOST_CLASSES]
    rows = [(task.label, *_cells(task.classes, names), _rest(task, names)) for task in found.tasks]
    strips = [_strip(task, _with_rest(_pairs(task.classes), names)) for task in found.tasks]
    return Section(
        "What is busy time spent on?",
        ("task", *names, "others"),
        rows,
        found.origins["classes"],
        claim="linear operations are a significant share of latency",
        strips=strips,
    )


def _rest(task: TaskResult, names: Sequence[str]) -> str:
    return units.share(sum(part.share.value for part in task.classes if part.name not in names))


def _with_rest(pairs: Sequence[tuple[str, float]], names: Sequence[str]) -> list[tuple[str, float]]:
    """The named parts in the order of the names, the others as one."""
    amounts = dict(pairs)
    rest = sum(amount for name, amount in pairs if name not in names)
    return [*((name, amounts.get(name, 0.0)) for name in names), ("others", rest)]


def _classes_by_phase(found: Characterization) -> Section:
    names = _names(task.classes for task in found.tasks)[:MOST_CLASSES]
    rows = [
        (task.label, phase.phase, *(_cell(phase, name) for name in names))
        for task in found.tasks
        for phase in task.phases
        if phase.class_shares
    ]
    return Section(
        "What is busy time spent on in each phase?",
        ("task", "phase", *names),
        rows,
        f"{found.origins['classes']}; shares of the phase's busy time",
        texts=2,
    )


def _cell(phase: PhaseResult, name: str) -> str:
    return units.share(phase.class_shares[name]) if name in phase.class_shares else NOTHING


def _bounds(found: Characterization) -> Section:
    present = {part.name for task in found.tasks for part in task.bounds}
    names = [name for name in _BOUNDS if name in present]
    rows = [
        (task.label, *_cells(task.bounds, names), units.share(task.roofline.coverage.value))
        for task in found.tasks
    ]
    return Section(
        "Is busy time bound by memory or by compute?",
        ("task", *names, "known"),
        rows,
        f"{found.origins['bounds']}. {_peaks(found)}",
        strips=[_strip(task, _with_rest(_pairs(task.bounds), names)[:-1]) for task in found.tasks],
        idle=frozenset({"unknown"}),
    )


def _peaks(found: Characterization) -> str:
    """The peaks that the bounds of the first task rest on; they are the same for all."""
    roofline = found.tasks[0].roofline
    if not roofline.source:
        return "No peaks are known of this device."
    peaks = ", ".join(
        f"{units.rate(peak, 'FLOP')} {dtype}" for dtype, peak in roofline.peak_flops.items()
    )
    return f"Peaks: {units.rate(roofline.bandwidth_bytes_per_s, 'B')}, {peaks}; {roofline.source}"


def _intensity(found: Characterization) -> Section:
    rows = [
        (task.label, part.name, *_worked(part), _ridge(task))
        for task in found.tasks
        for part in task.classes
        if part.name in _COMPARED and part.intensity is not None
    ]
    columns = (
        "task",
        "class",
        "of busy",
        "FLOPs",
        "bytes",
        "FLOP/B",
        "mostly bound by",
        "of it",
        "ridge",
    )
    return Section(
        "How much memory traffic do attention and linear layers need for their arithmetic?",
        columns,
        rows,
        f"{found.origins['intensity']}. Above the ridge (peak over bandwidth) work is bound by compute, below it by memory",
        claim="attention is memory-intensive",
        texts=2,
    )


def _worked(part: ClassResult) -> Row:
    bound, share = next(iter(part.bound_shares.items()), (NOTHING, 0.0))
    return (
        units.share(part.share.value),
        units.flops(part.flops),
        units.bytes_(part.bytes),
        NOTHING if part.intensity is None else units.number(part.intensity),
        bound,
        units.share(share),
    )


def _ridge(task: TaskResult) -> str:
    ridge = ridge_of(task)
    return NOTHING if ridge is None else units.number(ridge)


def _linear(found: Characterization) -> Section:
    places = _names(task.linear for task in found.tasks)
    rows = [(task.label, *_cells(task.linear, places)) for task in found.tasks if task.linear]
    return Section(
        "Where in the models are the linear layers that take time?",
        ("task", *places),
        rows,
        f"{found.origins['linear']}; shares of all busy time",
        claim="their share is due to the Transformer's feed-forward networks",
    )


def _sweeps(found: Characterization) -> Iterator[Section]:
    for axis, (question, column) in _AXES.items():
        swept = [sweep for sweep in found.sweeps if sweep.axis == axis]
        yield Section(
            question,
            ("task", column, *_TIMED, "idle"),
            [row for sweep in swept for row in _points(sweep)],
            found.origins["latency"],
            strips=[strip for sweep in swept for strip in _growth(sweep)],
        )


def _points(sweep: Sweep) -> Iterator[Row]:
    for point in sweep.points:
        idle = units.share(point.idle_share)
        yield (sweep.label, units.count(point.value), *_timed(point.latency), idle)


def _growth(sweep: Sweep) -> Iterator[Strip]:
    """Bars of latency; for batches of requests per second, which is what they are for."""
    by_batch = sweep.axis == "batch"
    amounts = [p.latency.requests_per_s if by_batch else p.latency.median_s for p in sweep.points]
    for point, amount in zip(sweep.points, amounts, strict=True):
        shown = f"{units.number(amount)} requests/s" if by_batch else units.duration(1e9 * amount)
        label = f"{sweep.label} {units.count(point.value)}"
        yield Strip(label, ((sweep.axis, 1.0),), shown, amount / max(amounts))


def _names(of_each: Iterator[Sequence[Part] | Sequence[ClassResult]]) -> list[str]:
    """The names of parts, those with the largest sum of shares first."""
    sums: defaultdict[str, float] = defaultdict(float)
    for parts in of_each:
        for part in parts:
            sums[part.name] += part.share.value
    return sorted(sums, key=lambda name: -sums[name])


def _pairs(parts: Sequence[Part] | Sequence[ClassResult]) -> list[tuple[str, float]]:
    return [(part.name, part.share.value) for part in parts]


def _cells(parts: Sequence[Part] | Sequence[ClassResult], names: Sequence[str]) -> Row:
    shares = dict(_pairs(parts))
    return tuple(units.share(shares[name]) if name in shares else NOTHING for name in names)


def _ranged(number: Range) -> Row:
    """A share, and the range that it has over the recordings."""
    return units.share(number.value), f"{100 * number.low:.1f} to {100 * number.high:.1f}"


_SECTIONS: Final[tuple[Callable[[Characterization], Section], ...]] = (
    _latency,
    _phases,
    _idle,
    _classes,
    _classes_by_phase,
    _bounds,
    _intensity,
    _linear,
)
