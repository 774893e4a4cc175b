"""`--fail-on` of `analyze`: conditions on the numbers of one analysis that make the exit code 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.conditions import Threshold, parse_threshold, require_fitting
from mmprof.analyzers.gate.numbers import numbers, unit_of, unknown_name
from mmprof.cli.renderers import units
from mmprof.cli.renderers.safe import printable


def absolute(text: str) -> Threshold:
    """Read a condition on a value.

    Raises:
        MmprofError: The text is no condition, or one on a change against a baseline.
    """
    threshold = parse_threshold(text)
    if threshold.relative:
        raise MmprofError(
            "MM-E023",
            f"the condition {text!r} needs a baseline",
            found="a number with a sign, which is a change",
            hint="mmprof check TRACE --baseline BASE --fail-on CONDITION",
        )
    return threshold


def crossings(document: Mapping[str, Any], thresholds: Sequence[Threshold]) -> list[str]:
    """One sentence for each device and threshold that it crosses.

    Args:
        document: An `mmprof.analysis/1` document.
        thresholds: The conditions.

    Raises:
        MmprofError: A threshold names no number of the document.
    """
    measured = [(device, numbers(document, device)) for device in document["devices"]]
    names = list(dict.fromkeys(name for _, found in measured for name in found))
    for threshold in thresholds:
        if threshold.name not in names:
            raise unknown_name(threshold.name, names)
        require_fitting(threshold, unit_of(threshold.name))
    return [
        _sentence(threshold, _place_of(device, document), found[threshold.name])
        for threshold in thresholds
        for device, found in measured
        if threshold.name in found and threshold.crossed_by(found[threshold.name])
    ]


def distance(value: float, limit: float, unit: str) -> str:
    """`10.0 points above`: how far a value is from a limit, and on which side."""
    if value == limit:
        return "at"
    side = "above" if value > limit else "below"
    return f"{units.difference(value - limit, unit)} {side}"


def _place_of(device: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Rank and device, and the file where another one has the same rank."""
    place = f"rank {device['rank']} device {device['device']}"
    inputs = {d["input"] for d in document["devices"] if d["rank"] == device["rank"]}
    if len(inputs) == 1:
        return place
    return f"{place} of {printable(document['inputs'][device['input']]['path'])}"


def _sentence(threshold: Threshold, place: str, value: float) -> str:
    unit = unit_of(threshold.name)
    return (
        f"fail-on {printable(threshold.text)}: {place}: "
        f"{printable(threshold.name)} is {units.quantity(value, unit)}, {distance(value, threshold.limit, unit)} the limit"
    )
