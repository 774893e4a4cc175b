"""The processes that a search holds: the baseline, what is kept, and what is tried."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mmprof.tracer.order import Subject
from mmprof.tracer.verify_sides import Combination, Effort, Side, opened

if TYPE_CHECKING:
    from mmprof.tracer.optimization.stacks import Levers, Stack

Role: TypeAlias = Literal["base", "kept", "tried"]

_MOST_SHARE: Final = 0.5
"""Of the time that is left, what one answer of a lever may take."""

_LEAST_S: Final = 10.0
"""Less is not enough to import a framework."""


@dataclass(slots=True)
class Timetable:
    """When what must have ended.

    Attributes:
        budget_s: Seconds that all of it may take.
        search_share: The part of the budget after which nothing new is tried: the rest is for confirming what was found.
        confirming: Whether that has begun.
        start: When the search began, on the monotonic clock.
        turn_ends: When what is tried now gives way to what comes after it.
    """

    budget_s: float
    search_share: float = 0.8
    confirming: bool = False
    start: float = field(default_factory=time.monotonic)
    turn_ends: float = math.inf

    def allow(self, share: float) -> None:
        """Give what is tried from now on a share of the time that is left for trying."""
        self.turn_ends = math.inf if share >= 1 else time.monotonic() + share * self.left_s()

    def turn_left_s(self) -> float:
        """Seconds until something new has to give way."""
        return min(self.turn_ends - time.monotonic(), self.left_s())

    def deadline(self) -> float:
        """The instant by which what is running must have ended."""
        part = 1.0 if self.confirming else self.search_share
        return self.start + part * self.budget_s

    def left_s(self) -> float:
        """Seconds until then."""
        return self.deadline() - time.monotonic()

    def limit_s(self, own_s: float) -> float:
        """Seconds that one answer of what is tried may take: something that hangs must leave time for the others.

        Args:
            own_s: What the user allows.
        """
        return min(own_s, max(_LEAST_S, _MOST_SHARE * self.left_s()))

    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured, and how.

    Attributes:
        subject: The workload.
        levers: The levers that may be applied.
        effort: How much one comparison may cost.
        quality_budget: The largest relative error of lossy stacks; None for what their levers allow.
    """

    subject: Subject
    levers: Levers
    effort: Effort
    quality_budget: float | None = None

    def combination(self, stack: Stack) -> Combination:
        """The levers of a stack."""
        return Combination({name: self.levers[name] for name in stack})

    def budget(self, stack: Stack) -> float:
        """The largest relative error that a stack may make."""
        own = self.combination(stack).budget
        return own if self.quality_budget is None else min(own, self.quality_budget)


@dataclass(frozen=True, slots=True)
class _Held:
    """A process with the levers that it has, and what ends it."""

    stack: Stack
    side: Side
    life: ExitStack


@dataclass(slots=True)
class Sides:
    """At most three processes, started when they are needed; all end with `close`.

    Attributes:
        question: What they run.
        timetable: When they must have ended.
        reference: Where the baseline's outputs are kept.
        before_end: Told of a kept stack before its process ends.
        deterministic: Whether two runs of the baseline gave equal bits; known once `base` was asked.
    """

    question: Question
    timetable: Timetable
    reference: Path
    before_end: Callable[[Stack, Side], None]
    deterministic: bool = True
    _held: dict[Role, _Held] = field(default_factory=dict)

    def base(self) -> Side:
        """The workload without levers.

        Raises:
            TrialEndedError: It cannot be run.
        """
        if "base" not in self._held:
            side = self._start("base", ())
            self.deterministic = side.keep_reference(self.reference, self.question.levers.values())
        return self._held["base"].side

    def kept(self, stack: Stack) -> Side:
        """What is kept; for the baseline another process of it.

        Raises:
            TrialEndedError: It cannot be run.
        """
        tried, kept = self._held.get("tried"), self._held.get("kept")
        if kept and kept.stack == stack:
            return kept.side
        self._end("kept")
        if tried and tried.stack == stack:
            self._held["kept"] = self._held.pop("tried")
            return tried.side
        return self._start("kept", stack)

    def tried(self, stack: Stack) -> Side:
        """A new process for what is tried.

        Raises:
            TrialEndedError: It cannot be run.
        """
        self._end("tried")
        return self._start("tried", stack)

    def drop_dead(self) -> None:
        """Forget the processes that have ended, and what was tried last."""
        for role, held in list(self._held.items()):
            if role == "tried" or not held.side.process.alive:
                self._held.pop(role).life.close()

    def close(self) -> None:
        """End all."""
        for role in list(self._held):
            self._held.pop(role).life.close()

    def _start(self, role: Role, stack: Stack) -> Side:
        question, effort = self.question, self.question.effort
        if role == "tried":
            effort = replace(effort, limit_s=self.timetable.limit_s(effort.limit_s))
        with ExitStack() as life:
            side = life.enter_context(
                opened(question.subject, stack, effort, deadline=self.timetable.deadline)
            )
            self._held[role] = _Held(stack, side, life.pop_all())
        return side

    def _end(self, role: Role) -> None:
        held = self._held.pop(role, None)
        if held is None:
            return
        if role == "kept":
            self.before_end(held.stack, held.side)
        held.life.close()
