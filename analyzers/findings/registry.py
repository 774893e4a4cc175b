"""The registry of finding rules."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from mmprof.analyzers.concurrency import side_by_side

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

Severity = Literal["high", "medium", "low"]
HIGH_SHARE: Final = 0.20
MEDIUM_SHARE: Final = 0.05
EVIDENCE_LIMIT: Final = 20


class Gain(Struct, frozen=True):
    """How many times faster the window could be: at least, as expected, at most (1.0: no gain)."""

    low: float
    expected: float
    high: float


class Evidence(Struct, frozen=True):
    """The events behind a finding.

    Attributes:
        events: Positions in traceEvents, the ones with most time first, at most `EVIDENCE_LIMIT`.
        share: Share of the window that the finding is about.
        time_ns: That share in nanoseconds.
        count: Number of events.
        where: Operator, module or source line that caused most of it.
    """

    events: list[int]
    share: float
    time_ns: int
    count: int
    where: str = ""


class Finding(Struct, frozen=True):
    """One finding about one device's window.

    Attributes:
        code: Stable code, `MM1xx`.
        title: One sentence with the numbers of this trace.
        severity: high, medium or low.
        lever: The lever that acts on it; empty if there is none.
        gain: Bounds of the speedup of the window.
        evidence: What it rests on.
        explain: Why it costs time and what to do.
        rank: Rank of the trace.
        device: Device of the window.
    """

    code: str
    title: str
    severity: Severity
    lever: str
    gain: Gain
    evidence: Evidence
    explain: str
    rank: int = 0
    device: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A registered rule.

    Attributes:
        code: Stable code.
        name: What the rule looks for, a short noun phrase.
        lever: The lever that acts on it.
        explain: Why it costs time and what to do.
        check: The rule itself: a view to what it found (title, evidence, and the most that can be gained), or None.
    """

    code: str
    name: str
    lever: str
    explain: str
    check: Callable[[View], Match | None]


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule found.

    Attributes:
        title: One sentence with numbers.
        time_ns: Time in the window that the finding is about.
        removable_ns: The most that could disappear from the window.
        events: Positions in traceEvents, most important first.
        count: Number of events.
        expected_share: The share of `removable_ns` that is expected to disappear, 0 to 1.
        where: Operator, module or source line that caused most of it.
        severity: Fixed severity; None to grade by the removable share of the window.
        lever: The lever that acts on this match, where it is not the rule's.
    """

    title: str
    time_ns: int
    removable_ns: int
    events: Sequence[int]
    count: int
    expected_share: float = 0.5
    where: str = ""
    severity: Severity | None = None
    lever: str | None = None


_RULES: Final[dict[str, Rule]] = {}


def finding(
    code: str, name: str, *, lever: str = ""
) -> Callable[[Callable[[View], Match | None]], Callable[[View], Match | None]]:
    """Register the decorated function as a rule; its docstring explains the finding to users."""

    def register(check: Callable[[View], Match | None]) -> Callable[[View], Match | None]:
        if code in _RULES:
            raise ValueError(f"two rules have the code {code}")
        _RULES[code] = Rule(code, name, lever, _paragraph(check.__doc__ or ""), check)
        return check

    return register


@cache
def rules() -> Mapping[str, Rule]:
    """All rules by code."""
    package = importlib.import_module("mmprof.analyzers.findings")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_RULES.items()))


def find(view: View) -> tuple[Finding, ...]:
    """All findings about a view, the one with most to gain first."""
    if view.window_ns == 0:
        return ()
    known = rules().values()
    matches = side_by_side(lambda rule: rule.check(view), known)
    found = [(rule, match) for rule, match in zip(known, matches, strict=True) if match is not None]
    found.sort(key=lambda rm: -rm[1].removable_ns)
    return tuple(_finding(view, rule, match) for rule, match in found)


def _finding(view: View, rule: Rule, match: Match) -> Finding:
    removable = min(match.removable_ns, view.window_ns) / view.window_ns
    return Finding(
        code=rule.code,
        title=match.title,
        severity=match.severity or _severity(removable),
        lever=rule.lever if match.lever is None else match.lever,
        gain=Gain(1.0, _speedup(removable * match.expected_share), _speedup(removable)),
        evidence=Evidence(
            events=[int(e) for e in match.events[:EVIDENCE_LIMIT]],
            share=match.time_ns / view.window_ns,
            time_ns=match.time_ns,
            count=match.count,
            where=match.where,
        ),
        explain=rule.explain,
        rank=view.trace.rank,
        device=view.device,
    )


def _severity(share: float) -> Severity:
    return "high" if share >= HIGH_SHARE else "medium" if share >= MEDIUM_SHARE else "low"


def _speedup(removed_share: float) -> float:
    """Amdahl's law with the removed part gone; capped where nearly everything would go."""
    return round(1 / max(1 - removed_share, 0.01), 4)


def _paragraph(doc: str) -> str:
    return " ".join(doc.split())
