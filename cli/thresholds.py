"""`--fail-on`: conditions on the numbers of the analysis document that make the exit code 1."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from mmprof.analyzers.choices import listed, nearest
from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.costing import BOUNDS
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.idle import CAUSES
from mmprof.cli.renderers import units
from mmprof.cli.renderers.safe import printable

_EXPRESSION: Final = re.compile(
    r"\s*(?P<name>[^<>=!]+?)\s*(?P<comparison>>=|<=|==|!=|>|<)\s*(?P<number>[-+]?[\d_.]+(?:e[-+]?\d+)?)\s*(?P<unit>%|[a-zµ]*)\s*",
    re.IGNORECASE,
)
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS: Final = {"": 1.0, "%": 0.01, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
_SEVERITIES: Final = ("high", "medium", "low")
# What identifies a row or a device, and is no measurement.
_IDENTITY: Final = ("input", "rank", "device", "peak_flops", "class_shares")
_PLACE: Final = ("input", "rank", "device")


class _Share(NamedTuple):
    """A list of a device whose rows are shares: where it is, what its time is a share of, and all keys that there are."""

    rows: str
    whole: str
    keys: Sequence[str]


_SHARES: Final[Mapping[str, _Share]] = {
    "class": _Share("classes", "busy_ns", CLASSES),
    "cause": _Share("idle_causes", "window_ns", CAUSES),
    "bound": _Share("bounds", "busy_ns", BOUNDS),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition such as `idle_share>50%`.

    Attributes:
        text: As it was written.
        name: Name of a number, see `numbers`.
        comparison: One of > >= < <= == !=.
        limit: The number, in nanoseconds where it had a unit of time, as a share where it had a percent sign.
    """

    text: str
    name: str
    comparison: str
    limit: float

    def crossed_by(self, value: float) -> bool:
        """Whether the condition holds for a value."""
        return _COMPARISONS[self.comparison](value, self.limit)


def parse_threshold(text: str) -> Threshold:
    """Read `NAME OP NUMBER`; the number may end in %, ns, us, ms or s.

    Raises:
        MmprofError: The text is no such condition.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise _malformed(text, "it is not NAME OP NUMBER")
    if (factor := _UNITS.get(match["unit"].lower())) is None:
        raise _malformed(text, f"the unit {match['unit']!r}; known are %, ns, us, ms and s")
    try:
        limit = float(match["number"]) * factor
    except ValueError as error:
        raise _malformed(text, f"{match['number']!r} is no number") from error
    return Threshold(text, match["name"], match["comparison"], limit)


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
            raise _unknown_name(threshold, names)
    return [
        _sentence(threshold, _place_of(device, document), found[threshold.name])
        for threshold in thresholds
        for device, found in measured
        if threshold.name in found and threshold.crossed_by(found[threshold.name])
    ]


def numbers(document: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a device that a threshold can name.

    These are the scalar fields of its entry (`idle_share`, `roofline.coverage`), `class:linear` and `bound:memory` as
    shares of busy time, `cause:python` as a share of the window, the numbers of its phases (`phase:decode.idle_ns`), and
    `findings`, `findings.high`, `findings.medium` and `findings.low`.
    """
    found = dict(_scalars(device))
    for prefix, share in _SHARES.items():
        found |= {f"{prefix}:{key}": 0.0 for key in share.keys}
        whole = device[share.whole] or 1
        found |= {f"{prefix}:{row[prefix]}": row["time_ns"] / whole for row in device[share.rows]}
    for row in _rows_of(document.get("phases", ()), device):
        found |= _scalars(row, f"phase:{row['phase']}.")
    severities = [row["severity"] for row in _rows_of(document["findings"], device)]
    found |= {f"findings.{severity}": severities.count(severity) for severity in _SEVERITIES}
    return found | {"findings": len(severities)}


def _rows_of(
    rows: Sequence[Mapping[str, Any]], device: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row[key] == device[key] for key in _PLACE)]


def _scalars(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in fields.items():
        if name in _IDENTITY:
            continue
        if isinstance(value, Mapping):
            yield from _scalars(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", value


def _place_of(device: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Rank and device, and the file where another one has the same rank."""
    place = f"rank {device['rank']} device {device['device']}"
    inputs = {d["input"] for d in document["devices"] if d["rank"] == device["rank"]}
    if len(inputs) == 1:
        return place
    return f"{place} of {printable(document['inputs'][device['input']]['path'])}"


def _sentence(threshold: Threshold, place: str, value: float) -> str:
    name = threshold.name
    return (
        f"fail-on {printable(threshold.text)}: {place}: "
        f"{printable(name)} is {_shown(name, value)}, {_distance(name, value - threshold.limit)} the limit"
    )


def _distance(name: str, difference: float) -> str:
    side = "above" if difference > 0 else "below" if difference < 0 else "at"
    if not difference:
        return side
    shown = (
        f"{abs(difference) * 100:.1f} points" if _is_share(name) else _shown(name, abs(difference))
    )
    return f"{shown} {side}"


def _shown(name: str, value: float) -> str:
    if name.endswith("_ns"):
        return units.duration(value)
    return units.share(value) if _is_share(name) else f"{value:,.10g}"


def _is_share(name: str) -> bool:
    return name.endswith(("share", "coverage")) or name.partition(":")[0] in _SHARES


def _malformed(text: str, found: str) -> MmprofError:
    return MmprofError(
        "MM-E023",
        f"cannot read the condition {text!r}",
        found=found,
        hint="NAME OP NUMBER as in 'idle_share>50%', 'idle_ns>=10ms' or 'findings.high>0'",
    )


def _depth(name: str) -> int:
    """Fields of a device come first in a list of names, shares next, fields of fields last."""
    return ("." in name) * 2 + (":" in name)


def _unknown_name(threshold: Threshold, names: Sequence[str]) -> MmprofError:
    return MmprofError(
        "MM-E023",
        f"no number of this analysis is named {threshold.name!r}",
        found=listed(sorted(names, key=_depth), most=len(names)),
        hint=nearest(threshold.name, names),
    )
