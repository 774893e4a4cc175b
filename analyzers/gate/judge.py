"""Conditions judged: which are crossed, and which only by noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from mmprof.analyzers.diff.significance import ERROR_RATE, Judged, Series, judge, reason_of_silence
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.baseline import Against
from mmprof.analyzers.gate.conditions import Threshold, require_fitting
from mmprof.analyzers.gate.metrics import CATALOG, DeviceMetrics, Metric, canonical
from mmprof.analyzers.gate.numbers import SHARE, unknown_name
from mmprof.analyzers.statistics import least_p

OK: Final = "ok"
CROSSED: Final = "crossed"
NOISE: Final = "noise"

_LEVEL: Final = "condition"
# The test of significance takes whole numbers: shares are judged in millionths.
_MILLIONTHS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition and who asked for it.

    Attributes:
        threshold: The condition.
        origin: `--fail-on`, or the file that has it.
    """

    threshold: Threshold
    origin: str


class Significance(Struct, frozen=True):
    """What the samples of both sides say of a change, in the metric's unit.

    Attributes:
        samples: Samples before and now.
        change: Median now less median before.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: The chance of such a difference where nothing changed; null where no difference could be told from chance.
        significant: Whether it is no chance; null where there are too few samples to say.
        detectable: The least change that would be found in four of five repeats; null where none would.
    """

    samples: tuple[int, int]
    change: float
    low: float
    high: float
    p: float | None
    significant: bool | None
    detectable: float | None


class Judgement(Struct, frozen=True):
    """A condition on one device.

    Attributes:
        condition: As it was written.
        origin: `--fail-on`, or the file that has it.
        metric: Its name.
        unit: Unit of all values: `ns`, `share` (of 1), `bytes` or `count`.
        rank: Rank of the process.
        device: Device index; -1 for the host.
        status: `ok`; `crossed`: the condition holds, and the check fails; `noise`: it holds, but the samples do not show a
            change.
        value: The metric's value.
        limit: What it is compared with.
        baseline: The baseline's value; null for a condition on the value itself.
        significance: What the samples say of the change; null for a condition on the value itself.
        reason: Why the samples do not decide; empty where they do.
    """

    condition: str
    origin: str
    metric: str
    unit: str
    rank: int
    device: int
    status: str
    value: float
    limit: float
    baseline: float | None = None
    significance: Significance | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """A condition that applies to a device; `known` is the device in the baseline, None without one."""

    condition: Condition
    device: DeviceMetrics
    known: DeviceMetrics | None

    @property
    def name(self) -> str:
        return canonical(self.condition.threshold.name)

    @property
    def metric(self) -> Metric:
        return self.device.metrics[self.name]

    @property
    def key(self) -> tuple[str, str]:
        return _LEVEL, f"{self.device.rank}/{self.device.device}/{self.name}"

    @property
    def scale(self) -> int:
        return _MILLIONTHS if self.metric.unit == SHARE else 1


def judgements(
    conditions: Sequence[Condition],
    devices: Sequence[DeviceMetrics],
    against: Against | None = None,
    *,
    strict: bool = False,
) -> list[Judgement]:
    """Judge conditions on devices.

    A condition on a change counts as crossed where the values cross it, unless the samples of both sides are enough to tell
    a change from chance and do not show one.

    Args:
        conditions: What to judge, in this order.
        devices: What was measured.
        against: The baseline; needed for conditions on a change.
        strict: Count what is within the noise as crossed.

    Raises:
        MmprofError: A metric is unknown or not in these traces, or the baseline has not what a condition needs.
    """
    rows = [row for c in conditions for row in _rows(c, devices, against)]
    series = {row.key: _series(row, row.known) for row in rows if row.known}
    judged = judge({key: s for key, s in series.items() if s.before_ns and s.after_ns})
    return [_judgement(row, series, judged, strict=strict) for row in rows]


def needs_baseline(condition: str) -> MmprofError:
    """The error of a condition on a change without anything to compare with."""
    return MmprofError(
        "MM-E080",
        f"the condition {condition!r} needs a baseline",
        found="a number with a sign, which is a change, and nothing to compare with",
        hint="--baseline BASE.json (`mmprof baseline save` writes one) or --baseline TRACE",
    )


def _rows(
    condition: Condition, devices: Sequence[DeviceMetrics], against: Against | None
) -> Iterator[_Row]:
    name = canonical(condition.threshold.name)
    having = [device for device in devices if name in device.metrics]
    if not having:
        raise _not_measured(name, devices)
    for device in having:
        require_fitting(condition.threshold, device.metrics[name].unit)
        known = None
        if condition.threshold.relative:
            known = _known(condition.threshold, device, against)
        yield _Row(condition, device, known)


def _known(threshold: Threshold, device: DeviceMetrics, against: Against | None) -> DeviceMetrics:
    """The device in the baseline."""
    if against is None:
        raise needs_baseline(threshold.text)
    name = canonical(threshold.name)
    for known in against.baseline.devices:
        same = (known.rank, known.device) == (device.rank, device.device)
        if same and name in known.metrics and known.metrics[name].unit == device.metrics[name].unit:
            return known
    raise MmprofError(
        "MM-E081",
        f"the baseline {against.path} has no {threshold.name!r} of rank {device.rank}, device {device.device}",
        found=", ".join(f"rank {d.rank}, device {d.device}" for d in against.baseline.devices),
        hint="save the baseline again from a trace like this one",
    )


def _judgement(
    row: _Row,
    series: Mapping[tuple[str, str], Series],
    judged: Mapping[tuple[str, str], Judged],
    *,
    strict: bool,
) -> Judgement:
    threshold, value = row.condition.threshold, row.metric.value
    before = row.known.metrics[row.name].value if row.known else None
    found = judged.get(row.key) if row.known else None
    crossed = threshold.crossed_by(value, before or 0.0)
    # A condition that no change crosses as well asks for an improvement: noise is none.
    forgiving = before is not None and not threshold.crossed_by(before, before) and not strict
    in_noise = forgiving and found is not None and found.significant is False
    return Judgement(
        condition=threshold.text,
        origin=row.condition.origin,
        metric=row.name,
        unit=row.metric.unit,
        rank=row.device.rank,
        device=row.device.device,
        status=(NOISE if in_noise else CROSSED) if crossed else OK,
        value=value,
        limit=threshold.limit_for(before or 0.0),
        baseline=before,
        significance=_significance(row, series[row.key], found) if found else None,
        reason=_reason(series[row.key], found) if row.known else "",
    )


def _series(row: _Row, known: DeviceMetrics) -> Series:
    before, after = _comparable_samples(known, row.device, row.name)
    return Series(*(tuple(round(v * row.scale) for v in side) for side in (before, after)))


def _comparable_samples(
    before: DeviceMetrics, after: DeviceMetrics, name: str
) -> tuple[list[float], list[float]]:
    """One sample a run where both sides have enough runs, since runs differ by more than their steps; else one a step."""
    runs = before.metrics[name].runs, after.metrics[name].runs
    if least_p(len(runs[0]), len(runs[1])) <= ERROR_RATE:
        return runs
    return _flat(before.samples(name)), _flat(after.samples(name))


def _flat(samples: Sequence[Sequence[float]]) -> list[float]:
    return [value for run in samples for value in run]


def _significance(row: _Row, series: Series, judged: Judged) -> Significance:
    unscaled = row.scale
    return Significance(
        samples=(len(series.before_ns), len(series.after_ns)),
        change=judged.delta_ns / unscaled,
        low=judged.low_ns / unscaled,
        high=judged.high_ns / unscaled,
        p=judged.p,
        significant=judged.significant,
        detectable=None if judged.detectable_ns is None else judged.detectable_ns / unscaled,
    )


def _reason(series: Series, judged: Judged | None) -> str:
    if judged and judged.significant is not None:
        return ""
    return (
        reason_of_silence(len(series.before_ns), len(series.after_ns)) or "one condition among many"
    )


def _not_measured(name: str, devices: Sequence[DeviceMetrics]) -> MmprofError:
    if name == "peak_memory":
        return MmprofError(
            "MM-E023",
            "this trace has no 'peak_memory'",
            found="a trace without memory events",
            hint="record it with --memory, or with profile_memory=True",
        )
    names = [name for device in devices for name in device.metrics]
    return unknown_name(name, names, known=f"{', '.join(CATALOG)}; --list-metrics shows all")
