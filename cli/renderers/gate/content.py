"""What there is to say about a check, as sentences and cells; text of a trace is not yet made safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.gate.judge import CROSSED, NOISE, OK
from mmprof.cli.renderers import units
from mmprof.cli.thresholds import distance

if TYPE_CHECKING:
    from mmprof.analyzers.gate.check import Check
    from mmprof.analyzers.gate.judge import Judgement, Significance

COLUMNS: Final = ("verdict", "condition", "where", "now", "limit", "baseline", "change", "from")
"""Headings; the columns from the fourth to the seventh are numbers."""

NUMBERS: Final = range(3, 7)
VERDICTS: Final = {OK: "ok", CROSSED: "crossed", NOISE: "noise"}
_ORDER: Final = (CROSSED, NOISE, OK)
_HOST: Final = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check, and where the time of each trace and device went in a few words.

    Attributes:
        check: The judgements.
        headlines: One for each device of each trace.
    """

    check: Check
    headlines: tuple[str, ...] = ()


def verdict(check: Check) -> str:
    """The first line: whether the check fails, and how many conditions are crossed."""
    whole = units.count(len(check.judgements))
    noisy = f", {units.count(len(check.noisy))} only within the noise" if check.noisy else ""
    if check.ok:
        counted = "1 condition is" if len(check.judgements) == 1 else f"{whole} conditions are"
        return f"PASS: {counted} kept{noisy}"
    crossed = len(check.crossed)
    counted = (
        "1 condition"
        if len(check.judgements) == 1
        else f"{units.count(crossed)} of {whole} conditions"
    )
    return f"FAIL: {counted} {'is' if crossed == 1 else 'are'} crossed{noisy}"


def subject(check: Check) -> str:
    """What was checked, and against what."""
    names = [entry.name for entry in check.inputs]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    against = f" against {check.baseline.path}" if check.baseline else ""
    return f"{names[0]}{more}{against}; {'; '.join(_devices(check))}"


def remarks(check: Check) -> Iterator[str]:
    """What a reader of the numbers should know: what differs from the baseline beside them."""
    for reason in check.comparable.refused:
        yield f"Not comparable, compared anyway: {reason}"
    for reason in check.comparable.noted:
        yield f"Note: {reason}"


def ordered(check: Check) -> list[Judgement]:
    """What is crossed first, then what is noise; else as they were given."""
    return sorted(check.judgements, key=lambda j: _ORDER.index(j.status))


def row(judgement: Judgement) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    return (
        VERDICTS[judgement.status],
        judgement.condition,
        place(judgement),
        units.quantity(judgement.value, judgement.unit),
        units.quantity(judgement.limit, judgement.unit),
        "-" if judgement.baseline is None else units.quantity(judgement.baseline, judgement.unit),
        change(judgement),
        judgement.origin,
    )


def place(judgement: Judgement) -> str:
    """`rank 0, device 1`."""
    where = "host" if judgement.device == _HOST else f"device {judgement.device}"
    return f"rank {judgement.rank}, {where}"


def change(judgement: Judgement) -> str:
    """The change against the baseline: a share of it, points of a share, `-` without a baseline."""
    before = judgement.baseline
    if before is None:
        return "-"
    moved = judgement.value - before
    if judgement.unit == "share":
        return f"{moved * 100:+.1f} points"
    return f"{moved / before * 100:+.1f} %" if before else _signed(moved, judgement.unit)


def sentence(judgement: Judgement) -> str:
    """A judgement in one sentence: the value, the limit, and how far they are apart."""
    value, limit = (units.quantity(v, judgement.unit) for v in (judgement.value, judgement.limit))
    apart = distance(judgement.value, judgement.limit, judgement.unit)
    told = f"{judgement.metric} is {value}, {apart} the limit of {limit}"
    if judgement.baseline is None:
        return told
    before = units.quantity(judgement.baseline, judgement.unit)
    return f"{told} (baseline {before}, {change(judgement)})"


def evidence(judgement: Judgement) -> str:
    """What the samples say of a change; empty for a condition on the value itself."""
    found = judgement.significance
    if judgement.baseline is None:
        return ""
    if found is None or found.significant is None:
        return f"Whether this is noise cannot be told: {judgement.reason or 'no samples'}"
    if found.significant:
        return f"Significant: {_interval(found, judgement.unit)}"
    detectable = (
        f"; a change of {units.quantity(found.detectable, judgement.unit)} would be found"
        if found.detectable is not None
        else ""
    )
    return f"Within the noise: {_interval(found, judgement.unit)}{detectable}"


def details(judgement: Judgement) -> Iterator[str]:
    """What to say of a condition that is crossed, or only within the noise."""
    yield f"{judgement.condition} ({judgement.origin}), {place(judgement)}: {sentence(judgement)}"
    yield from filter(None, [evidence(judgement)])


def _interval(found: Significance, unit: str) -> str:
    low, high = (_signed(end, unit) for end in (found.low, found.high))
    p = "" if found.p is None else f", p = {units.number(found.p)}"
    before, after = found.samples
    return f"the median moved by {low} to {high} (95 %{p}; {before} and {after} samples)"


def _signed(value: float, unit: str) -> str:
    sign = "-" if value < 0 else "+"
    return f"{sign}{units.difference(value, unit)}"


def _devices(check: Check) -> Iterator[str]:
    for device in check.devices:
        where = "host" if device.device == _HOST else f"device {device.device}"
        counts = sorted(set(device.steps))
        steps = " or ".join(units.count(n) for n in counts)
        per = "one window" if device.step == "window" else f"{steps} x {device.step}"
        yield f"rank {device.rank}, {where} ({device.name or 'no name'}): {per}"
