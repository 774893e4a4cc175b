"""Levers, measurements and predictions that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from mmprof.tracer.lever import Lever
from mmprof.tracer.optimization.records import Compared, Ratio
from mmprof.tracer.optimization.search import EXACT_SHARE, OutOfTimeError
from mmprof.tracer.optimization.stacks import Stack
from mmprof.tracer.verify_results import OutputCheck, Predicted


def fake(name: str, **fields: Any) -> Lever:
    """A lever that is never applied."""
    known: dict[str, Any] = {
        "layer": "system",
        "summary": "",
        "exactness": "identical",
        "risk": "low",
        "cost": "",
        "hurts": "",
        "applies": lambda workload, device: "",
        "apply": nullcontext,
    }
    return Lever(id=name, **(known | fields))


def ratio(median: float, spread: float = 0.01) -> Ratio:
    return Ratio(median, median * (1 - spread), median * (1 + spread))


@dataclass
class FakeBench:
    """Speedups of stacks by a table of what each lever multiplies; what is in `broken` fails or differs."""

    factors: Mapping[str, float]
    broken: Mapping[str, str] = field(default_factory=dict)
    noise: float = 1.01
    most: int = 1_000
    fresh_factor: float = 1.0
    asked: list[tuple[Stack, Stack]] = field(default_factory=list)
    confirmed: list[Stack] = field(default_factory=list)
    allowed: list[float] = field(default_factory=list)
    most_exact: int = 1_000
    together: Mapping[Stack, float] = field(default_factory=dict)

    def total(self, stack: Stack) -> float:
        if stack in self.together:
            return self.together[stack]
        found = 1.0
        for name in stack:
            found *= self.factors[name]
        return found

    def allow(self, share: float) -> None:
        self.allowed.append(share)

    def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
        if len(self.asked) + len(self.confirmed) >= self.most:
            raise OutOfTimeError
        if self.allowed[-1:] == [EXACT_SHARE] and not fresh and len(self.asked) >= self.most_exact:
            raise OutOfTimeError
        (self.confirmed if fresh else self.asked).append(stack if fresh else (stack, on))
        return self._answer(stack, on, self.total(stack) * (self.fresh_factor if fresh else 1))

    def _answer(self, stack: Stack, on: Stack, total: float) -> Compared:
        why = next((self.broken[name] for name in stack if name in self.broken), "")
        if why == "differs":
            check = OutputCheck(ok=False, detail="other tokens")
            return Compared(stack=list(stack), on=list(on), budget=0, check=check)
        if why:
            return Compared(stack=list(stack), on=list(on), budget=0, failure=why)
        return Compared(
            stack=list(stack),
            on=list(on),
            budget=0,
            check=OutputCheck(ok=True, detail="equal"),
            total=ratio(total),
            gain=ratio(total / self.total(on)),
        )


@dataclass
class FakeOracle:
    """Predictions by a table of what each lever multiplies."""

    factors: Mapping[str, float]
    reasons: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def gain(self, stack: Stack, on: Stack) -> Predicted | None:
        if not {name for name in {*stack} ^ {*on} if name in self.factors}:
            return None
        gain = self._of(stack) / self._of(on)
        return Predicted(gain * 0.9, gain, gain * 1.05 if gain > 1 else gain)

    def _of(self, stack: Stack) -> float:
        found = 1.0
        for name in stack:
            found *= self.factors.get(name, 1.0)
        return found
