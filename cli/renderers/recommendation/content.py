"""What there is to say about recommendations, as sentences and cells; text of a trace is not yet made safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmprof.analyzers.whatif.recommendation import (
        Bounds,
        Recommendation,
        Recommendations,
        Stack,
    )

COLUMNS: Final = ("lever", "expected", "low to high", "acts on", "exactness", "risk", "finding")
"""Headings; the columns from the second to the fourth are numbers."""

NUMBERS: Final = range(1, 4)
NEARLY: Final = 1.05
"""Runs of the same work differ by this much."""

REJECTED_COLUMNS: Final = ("lever", "why not")


def facts(found: Recommendations) -> list[str]:
    """What was replayed, and how well."""
    where = f"{found.input.path}: rank {found.rank}, " + (
        f"device {found.device}" if found.device >= 0 else "the host"
    )
    named = f" ({found.name})" if found.name else ""
    part = f", window {found.window}" if found.window else ""
    return [f"{where}{named}{part}", _replayed(found), *_against(found)]


def row(entry: Recommendation) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    return (
        entry.lever,
        units.factor(entry.predicted.expected),
        bounds(entry.predicted),
        units.share(entry.evidence.share),
        entry.exactness,
        entry.risk,
        " ".join(entry.findings) or "-",
    )


def details(entry: Recommendation) -> Iterator[str]:
    """What a lever does, asks for and rests on."""
    yield f"{entry.summary}."
    asks = f"Costs {entry.cost}." if entry.cost not in {"", "none"} else "Costs nothing."
    hurts = f" Hurts: {entry.hurts}." if entry.hurts not in {"", "nothing"} else ""
    by_hand = "" if entry.automatic else " To be done by hand."
    yield asks + hurts + by_hand
    activities = f"{units.count(entry.evidence.count)} activities"
    where = f", most at {entry.evidence.where}" if entry.evidence.where else ""
    yield f"Acts on {activities}, {units.duration(entry.evidence.time_ns)}{where}."
    yield f"Assumes: {'; '.join(entry.assumptions)}."


def together(stack: Stack) -> str:
    """What the best levers give together."""
    names = " + ".join(stack.levers)
    expected = units.factor(stack.predicted.expected)
    return (
        f"Together {names}: {expected} ({bounds(stack.predicted)}), {stack.exactness}; one replay with the changes of all, not "
        "a product."
    )


def nothing(found: Recommendations) -> str:
    """Why nothing is recommended."""
    if not found.replay.reliable:
        return "Nothing is predicted: the replay does not explain the measured window."
    return "No lever is worth trying: none would change this window by 1 % or more."


def bounds(predicted: Bounds) -> str:
    """`1.02x to 1.71x`."""
    return f"{units.factor(predicted.low)} to {units.factor(predicted.high)}"


def _replayed(found: Recommendations) -> str:
    replay = found.replay
    return (
        f"Measured window {units.duration(replay.window_ns)}; the replay without changes takes "
        f"{units.duration(replay.replayed_ns)}, {units.share(replay.error)} off; no recorded cause explains "
        f"{units.share(replay.unexplained)}"
    )


def _against(found: Recommendations) -> Iterator[str]:
    replay = found.replay
    if not replay.event_cost_ns or not replay.unprofiled_ns:
        return
    cost, base = units.duration(round(replay.event_cost_ns)), units.duration(replay.base_ns)
    yield f"Speedups are against {base}, without {cost} of the profiler for each event that it recorded"
    if replay.base_ns > replay.unprofiled_ns * NEARLY:
        yield (
            f"Un-profiled runs take {units.duration(replay.unprofiled_ns)}: the recorded run was slow for other reasons, too"
        )
