"""Conditions on named numbers: `idle_share>50%` of a value, `step_time>+5%` of its change against a baseline."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.numbers import BYTES, COUNT, NS, SHARE

_EXPRESSION: Final = re.compile(
    r"\s*(?P<name>[^<>=!]+?)\s*(?P<comparison>>=|<=|==|!=|>|<)\s*(?P<sign>[-+])?(?P<number>[\d_.]+(?:e[-+]?\d+)?)\s*(?P<unit>%|[a-zµ]*)\s*",
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
_UNITS: Final = {
    "": 1.0,
    "%": 0.01,
    "pp": 0.01,
    "ns": 1.0,
    "us": 1e3,
    "µs": 1e3,
    "ms": 1e6,
    "s": 1e9,
    "kib": 1024.0,
    "mib": 1024.0**2,
    "gib": 1024.0**3,
}
_KNOWN_UNITS: Final = "%, pp, ns, us, ms, s, KiB, MiB and GiB"
_FITTING: Final = {
    NS: ("ns", "us", "µs", "ms", "s"),
    SHARE: ("%", "pp"),
    BYTES: ("kib", "mib", "gib"),
    COUNT: (),
}
_TAKES: Final = {
    NS: "a time takes ns, us, ms or s",
    SHARE: "a share takes %, or a number of at most 1; a change of it takes pp as well",
    BYTES: "memory takes KiB, MiB or GiB",
    COUNT: "a count takes no unit",
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition such as `idle_share>50%` or `step_time>+5%`.

    Attributes:
        text: As it was written.
        name: Name of a number.
        comparison: One of > >= < <= == !=.
        limit: The number, in nanoseconds where it had a unit of time, in bytes where it had one of memory, as a share
            where it had a percent sign.
        relative: Whether the number had a sign: then it is a change against the baseline.
        of_baseline: Whether that change is a share of the baseline's value; else it is added to it.
        unit: The unit that was written, in lower case; empty without one.
    """

    text: str
    name: str
    comparison: str
    limit: float
    relative: bool = False
    of_baseline: bool = False
    unit: str = ""

    def limit_for(self, baseline: float) -> float:
        """The limit of the value itself, given the baseline's."""
        if not self.relative:
            return self.limit
        # rounded, so that 100 + 5 % is 105 and not a little more
        return baseline + (round(baseline * self.limit, 9) if self.of_baseline else self.limit)

    def crossed_by(self, value: float, baseline: float = 0.0) -> bool:
        """Whether the condition holds for a value."""
        return _COMPARISONS[self.comparison](value, self.limit_for(baseline))


def parse_threshold(text: str) -> Threshold:
    """Read `NAME OP NUMBER`; the number may end in a unit, and a sign before it makes it a change against a baseline.

    Raises:
        MmprofError: The text is no such condition.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise _malformed(text, "it is not NAME OP NUMBER")
    unit = match["unit"].lower()
    if unit not in _UNITS:
        raise _malformed(text, f"the unit {match['unit']!r}; known are {_KNOWN_UNITS}")
    if unit == "pp" and not match["sign"]:
        raise _malformed(text, "percentage points without a sign")
    try:
        limit = float(f"{match['sign'] or ''}{match['number']}") * _UNITS[unit]
    except ValueError as error:
        raise _malformed(text, f"{match['number']!r} is no number") from error
    if not math.isfinite(limit):
        raise _malformed(text, f"{match['number']!r} is more than a number can be")
    relative = match["sign"] is not None
    of_baseline = relative and unit == "%"
    return Threshold(text, match["name"], match["comparison"], limit, relative, of_baseline, unit)


def require_fitting(threshold: Threshold, kind: str) -> None:
    """Refuse a limit that a number of a kind cannot be compared with: the condition would never hold, or always.

    Args:
        threshold: The condition.
        kind: The number's unit: `ns`, `share`, `bytes` or `count`.

    Raises:
        MmprofError: The unit is one of another kind, or a share is more than 1 without a percent sign.
    """
    known = ("", *_FITTING[kind], *("%" * threshold.of_baseline))
    beyond = kind == SHARE and not threshold.unit and abs(threshold.limit) > 1
    if threshold.unit in known and not beyond:
        return
    found = f"a limit of {threshold.limit:g}" if beyond else f"the unit {threshold.unit!r}"
    raise MmprofError(
        "MM-E023",
        f"the limit of {threshold.text!r} does not fit {threshold.name!r}",
        found=found,
        hint=_TAKES[kind],
    )


def _malformed(text: str, found: str) -> MmprofError:
    return MmprofError(
        "MM-E023",
        f"cannot read the condition {text!r}",
        found=found,
        hint="NAME OP NUMBER as in 'idle_share>50%', 'idle_ns>=10ms' or, against a baseline, 'step_time>+5%'",
    )
