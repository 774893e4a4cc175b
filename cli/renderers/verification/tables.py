"""A verification in sentences and tables of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.units import bytes_, count, duration, factor, share
from mmprof.cli.renderers.verification.recordings import recordings
from mmprof.cli.renderers.verification.verdict_table import NOTHING, Row, VerdictTable

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import Argument
    from mmprof.tracer.verify_results import LeverResult, OutputCheck, Predicted, Rung, Verification

_EXACT_BELOW: Final = 10
_SHOWN_ARGUMENTS: Final = ("task", "size", "dtype", "batch", "attention", "seed")
_UNLIKE: Final = 1.3
_KEEP_MEMORY: Final = (
    "that is much: some may give memory back to the system that others keep; with "
    "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 before the command all keep it (glibc)"
)
_CLOCKS: Final = {"cpu": "CPU time", "wall": "wall time"}


def facts(found: Verification) -> Iterator[str]:
    """What was run, on what, and how the baseline did."""
    workload, base = found.workload, found.baseline
    words = [f"{name}={workload[name]}" for name in _SHOWN_ARGUMENTS if name in workload]
    yield " ".join([str(workload["name"]), *words, f"on {found.device_name}"])
    low, high = (duration(1e9 * s) for s in base.interval_s)
    yield (
        f"baseline {duration(1e9 * base.median_s)} ({low} to {high}) of "
        f"{_CLOCKS[found.clock]}, {plural(found.threads, 'thread')}, peak {bytes_text(base.peak_bytes)}"
    )
    yield f"equal processes may differ by {share(base.noise - 1)}: the intervals allow for that"
    if base.noise > _UNLIKE and found.device.startswith("cpu"):
        yield _KEEP_MEMORY
    if base.idle_share is not None:
        yield f"idle {share(base.idle_share)} of a profiled request"
    if not base.deterministic:
        yield "the baseline is not deterministic: two of its runs differ"


def tables(found: Verification) -> list[VerdictTable]:
    """The levers alone, then cumulated, then where their time goes."""
    alone = VerdictTable(
        "Each lever alone",
        (
            "lever",
            "verdict",
            "speedup",
            "interval",
            "predicted",
            "pairs",
            "setup",
            "pays back after",
            "peak",
            "idle",
        ),
        [_row(result) for result in found.levers],
        [_remark(r.lever, r.reason, r.output_check) for r in found.levers],
    )
    shown = [alone, *_cumulated(found)]
    single = [(each.lever, each) for each in found.levers]
    stacks = [(_together(rung), rung) for rung in found.ladder[1:]]
    return [*shown, *recordings(found, [*single, *stacks])]


def _cumulated(found: Verification) -> Iterator[VerdictTable]:
    if not found.ladder:
        return
    yield VerdictTable(
        "Cumulated",
        ("levers", "verdict", "speedup", "interval", "idle"),
        [_rung(rung) for rung in found.ladder],
        [_remark(_together(r), r.reason, r.output_check) for r in found.ladder[1:]],
    )


def _row(result: LeverResult) -> Row:
    calls = result.pays_back_after_calls
    setup = result.setup_cost_s
    return (
        result.lever,
        result.verdict,
        speedup_text(result.speedup),
        interval_text(result.interval),
        predicted_text(result.predicted),
        count(result.pairs) if result.pairs else NOTHING,
        NOTHING if setup is None else duration(1e9 * setup),
        NOTHING if calls is None else plural(calls, "call"),
        bytes_text(result.peak_bytes),
        idle_text(result.idle_share),
    )


def _rung(rung: Rung) -> Row:
    return (
        _together(rung),
        rung.verdict,
        speedup_text(rung.speedup),
        interval_text(rung.interval),
        idle_text(rung.idle_share),
    )


def _together(rung: Rung) -> str:
    """A rung's last lever, with a plus where others stand before it."""
    return rung.levers[0] if len(rung.levers) == 1 else f"+ {rung.levers[-1]}"


def _remark(name: str, reason: str, check: OutputCheck | None) -> str:
    if reason or check is None:
        return f"{name}: {reason}"
    return f"{name}: {check_text(check)}"


def check_text(check: OutputCheck) -> str:
    """How outputs compare, and what the lever tells of the request."""
    told = [f"{key.replace('_', ' ')} {_fact(value)}" for key, value in check.facts.items()]
    return "; ".join(filter(None, (check.detail, ", ".join(told))))


def _fact(value: Argument) -> str:
    """A text in quotes and on one line."""
    return repr(value) if isinstance(value, str) else str(value)


def speedup_text(value: float | None) -> str:
    """A speedup, where there is one."""
    return NOTHING if value is None else _factor(value)


def interval_text(ends: tuple[float, float] | None) -> str:
    """Its interval."""
    return NOTHING if ends is None else f"{_factor(ends[0])} to {_factor(ends[1])}"


def predicted_text(said: Predicted | None) -> str:
    """What was predicted, from low to high."""
    return NOTHING if said is None else f"{factor(said.low)} to {factor(said.high)}"


def _factor(times: float) -> str:
    """Near 1 the third decimal decides the verdict."""
    return f"{times:.3f}x" if times < _EXACT_BELOW else factor(times)


def idle_text(part: float | None) -> str:
    """An idle share, where it is known."""
    return NOTHING if part is None else share(part)


def plural(number: int, word: str) -> str:
    """A number of things."""
    return f"{count(number)} {word}{'' if number == 1 else 's'}"


def bytes_text(number: int | None) -> str:
    """Memory, where it is known."""
    return NOTHING if number is None else bytes_(number)
