"""Which stack to measure next: greedy, led by prediction, and each step confirmed by a measurement.

Levers that leave the outputs equal up to rounding come first, then the others, so that the best exact stack is a rung of the
ladder. Of the levers that are left, the one is next whose stack is predicted to gain most over what is kept, by a replay of
all their changes together, and among equals the one that is least likely to disappoint; those of which no trace can tell
follow. It is kept only if it is measured to be faster than what is kept and than the baseline, and the outputs hold.
Once something is kept, nothing is measured whose gain, were it all that is predicted at most, no measurement could show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, get_args

from mmprof.tracer.lever import Exactness, Risk
from mmprof.tracer.optimization.records import Compared, Ratio
from mmprof.tracer.optimization.stacks import Levers, Stack, exclude_each_other, with_lever
from mmprof.tracer.verify import verdict_of
from mmprof.tracer.verify_results import Predicted, Verdict

WORTHWHILE: Final = 1.01
"""A lever that is predicted to gain less, at most, is not measured: less than a percent drowns in noise."""

EXACT: Final[frozenset[Exactness]] = frozenset({"identical", "reassociation"})

EXACT_SHARE: Final = 0.5
"""Of the time for trying, what exact levers may take where others wait: these are often the ones that gain most."""

_FAR: Final = 1.5
"""Times its budget, the error of a lever's outputs that exact levers beside it cannot explain."""

_NOT_OVER_ALL: Final = "beside the first process of the baseline it was not faster"
_HIDDEN, _UNKNOWN, _SEEN = range(3)
_RISKS: Final = get_args(Risk)
_NO_TIME: Final = "the budget of time ended before it was measured"


class OutOfTimeError(Exception):
    """The budget of time does not allow another measurement."""


class Bench(Protocol):
    """What measures."""

    @property
    def noise(self) -> float:
        """Factor by which two processes that run the same may differ."""
        ...

    def allow(self, share: float) -> None:
        """Give what is tried from now on a share of the time that is left for trying; 1 for all of it."""
        ...

    def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
        """Measure a stack beside the baseline and beside what it was made from.

        Args:
            stack: What to measure.
            on: What it was made from.
            fresh: To confirm what was measured before.

        Raises:
            OutOfTimeError: There is no time left for it.
        """
        ...


class Oracle(Protocol):
    """What predicts.

    Attributes:
        reasons: Why nothing is predicted for some levers.
        silent: Those of them of which no trace can tell; the others change nothing in this one.
    """

    reasons: dict[str, str]
    silent: set[str]

    def gain(self, stack: Stack, on: Stack) -> Predicted | None:
        """The speedup of a stack over another one; None where nothing is known of what differs."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A lever that was measured on top of others.

    Attributes:
        lever: Its name.
        stack: What was measured.
        on: What was kept before.
        predicted: Its speedup over that, as predicted.
        measured: Its speedup over that, as measured.
        verdict: What came of it.
        reason: Why it was given up, other than by its own measurement.
    """

    lever: str
    stack: Stack
    on: Stack
    predicted: Predicted | None
    measured: Compared
    verdict: Verdict
    reason: str = ""


@dataclass(slots=True)
class Found:
    """What a search found.

    Attributes:
        steps: What was measured, in this order.
        kept: Those that were kept, in this order.
        untried: Why the other levers were not measured.
        confirmation: The last of the kept stacks, measured again; None where there was no time, or nothing to confirm.
        confirmations: How many times a stack was measured again.
        complete: Whether every lever was looked at.
    """

    steps: list[Step] = field(default_factory=list)
    kept: list[Step] = field(default_factory=list)
    untried: dict[str, str] = field(default_factory=dict)
    confirmation: Compared | None = None
    confirmations: int = 0
    complete: bool = True

    @property
    def measured(self) -> int:
        """Comparisons that were made; that a lever turned out not to apply is none."""
        return _comparisons(self.steps) + self.confirmations

    @property
    def found_after(self) -> int:
        """Comparisons after which what is kept was known; 0 where nothing is."""
        return _comparisons(self.steps[: self.steps.index(self.kept[-1]) + 1]) if self.kept else 0

    @property
    def stack(self) -> Stack:
        """What is kept."""
        return self.kept[-1].stack if self.kept else ()


@dataclass(frozen=True, slots=True)
class Search:
    """A search over stacks.

    Attributes:
        levers: What may be used.
        bench: What measures.
        oracle: What predicts.
        found: What it found so far.
    """

    levers: Levers
    bench: Bench
    oracle: Oracle
    found: Found = field(default_factory=Found)

    def run(self) -> Found:
        """Search, and confirm what was found."""
        hopeless = self._hopeless()
        hopeful = [name for name in self.levers if name not in hopeless]
        try:
            self._climb(hopeful)
            if self.found.kept:
                self.found.untried |= {name: self.oracle.reasons[name] for name in hopeless}
            else:  # predictions may be wrong: before it says that nothing helps, it measures everything
                self._climb(hopeless)
        except OutOfTimeError:
            self._give_up()
        self._confirm()
        return self.found

    def _hopeless(self) -> list[str]:
        """The levers that would change nothing in the trace."""
        known = self.oracle.reasons.keys() - self.oracle.silent
        return [name for name in self.levers if name in known]

    def _climb(self, names: Iterable[str]) -> None:
        """Try levers, the exact ones first, and not for so long that nothing is left for the others."""
        names = list(names)
        exact = [name for name in names if self.levers[name].exactness in EXACT]
        others = [name for name in names if name not in exact]
        self.bench.allow(EXACT_SHARE if others else 1.0)
        try:
            self._try_all(exact)
        except OutOfTimeError:
            if not others:
                raise
        self.bench.allow(1.0)
        self._try_all(others)
        if exact:  # time is left after all
            self._try_all(exact)
        with suppress(OutOfTimeError):  # every lever was looked at
            self._try_all(self._once_more(names))

    def _once_more(self, names: Iterable[str]) -> list[str]:
        """Levers whose gain noise may have hidden, and would not beside what is kept now: other work is gone by then."""
        hidden = {
            step.lever
            for step in self.found.steps
            if step.verdict == "no gain"
            and step.predicted is not None
            and step.predicted.expected < self._shown
        }
        return [
            name
            for name in names
            if name in hidden
            and self._promise(name)[0] == _SEEN
            and not self._is_measured(with_lever(self.found.stack, name, self.levers))
        ]

    def _is_measured(self, stack: Stack) -> bool:
        """Whether a stack was measured beside what is kept."""
        return any((s.stack, s.on) == (stack, self.found.stack) for s in self.found.steps)

    def _try_all(self, left: list[str]) -> None:
        """Try levers, the most promising one first; those that were looked at are taken from the list."""
        while left:
            chosen = self._next(left)
            self._try(chosen)
            left.remove(chosen)

    def _next(self, left: Iterable[str]) -> str:
        """The most promising one; of those that promise as much, the one that is least likely to disappoint."""
        promises = {name: self._promise(name) for name in left}
        kind, most = max(promises.values())
        alike = [n for n, (k, gain) in promises.items() if k == kind and gain * WORTHWHILE > most]
        return min(alike, key=lambda n: (_RISKS.index(self.levers[n].risk), -promises[n][1]))

    @property
    def _shown(self) -> float:
        """The least speedup that a measurement can show."""
        return max(WORTHWHILE, self.bench.noise)

    def _promise(self, name: str) -> tuple[int, float]:
        """What is predicted to gain comes first, then what nobody knows, last what noise would hide."""
        gain = self._gain(name)
        if gain is None:
            return _UNKNOWN, 1.0
        return (_SEEN if gain.expected >= self._shown else _HIDDEN), gain.expected

    def _gain(self, name: str) -> Predicted | None:
        """What a lever is predicted to gain on top of what is kept; of those whose place it takes, the measured gain counts."""
        if name in self.oracle.reasons:  # it may gain more than the levers whose place it takes
            return None
        rivals = self._rivals(name)
        base = tuple(other for other in self.found.stack if other not in rivals)
        gain = self.oracle.gain(with_lever(base, name, self.levers), base)
        return gain and _over(gain, self._measured(rivals))

    def _rivals(self, name: str) -> list[str]:
        """Those of the kept levers whose place it would take."""
        return [
            o for o in self.found.stack if exclude_each_other(self.levers[o], self.levers[name])
        ]

    def _measured(self, names: Iterable[str]) -> float:
        """What kept levers gained together, when each was added."""
        gains = [
            step.measured.gain.median
            for step in self.found.kept
            if step.lever in names and step.measured.gain
        ]
        return math.prod(gains)

    def _try(self, name: str) -> None:
        on = self.found.stack
        gain = self._gain(name)
        reason = self._why_not(name, on, gain)
        if reason:
            if name not in {step.lever for step in self.found.steps}:
                self.found.untried[name] = reason
            return
        on_top = self._measure(name, with_lever(on, name, self.levers), gain)
        alone = self._gain_alone(name)
        if on_top == "verified" or alone is None or alone.expected < WORTHWHILE:
            return
        if alone.high < self._shown or self._is_measured((name,)):
            return
        if not self._differs_alone(name):
            self._measure(name, (name,), alone)

    def _differs_alone(self, name: str) -> bool:
        """Whether the lever that was measured last alters the outputs by far more than it may: rounding beside it does not do that."""
        step = self.found.steps[-1]
        check = step.measured.check
        return (
            step.verdict == "outputs differ"
            and check is not None
            and self.levers[name].exactness not in EXACT
            and all(self.levers[other].exactness in EXACT for other in step.stack if other != name)
            and check.relative_error is not None
            and check.relative_error > _FAR * step.measured.budget
        )

    def _measure(self, name: str, stack: Stack, gain: Predicted | None) -> Verdict:
        """Measure a stack beside what is kept, and keep it where it is faster than that and than the baseline."""
        on = self.found.stack
        measured = self.bench.compare(stack, on)
        verdict, reason = self._verdict(measured, measured.gain), ""
        if verdict == "verified" and self._verdict(measured, measured.total) != "verified":
            # the baseline runs in another process than what is kept, even where nothing is
            verdict, reason = "no gain", _NOT_OVER_ALL
        step = Step(name, stack, on, gain, measured, verdict, reason)
        self.found.steps.append(step)
        if verdict == "verified":
            self.found.kept.append(step)
        return verdict

    def _gain_alone(self, name: str) -> Predicted | None:
        """What a lever is predicted to gain over what is kept in the place of all of it: levers can spoil each other."""
        on = self.found.stack
        if not on or with_lever(on, name, self.levers) == (name,) or name in self.oracle.reasons:
            return None
        gain = self.oracle.gain((name,), ())
        return gain and _over(gain, self._measured(on))

    def _why_not(self, name: str, on: Stack, gain: Predicted | None) -> str:
        """Why a lever is not worth a measurement on top of what is kept."""
        if gain is None or not self.found.kept:
            return ""
        if gain.high < WORTHWHILE:
            rivals = self._rivals(name)
            if rivals:
                return f"{' and '.join(rivals)}, which it excludes, is kept and was measured to gain as much"
            return f"predicted to gain nothing on top of {' + '.join(on)}"
        if gain.high < self._shown:
            return (
                f"predicted to gain {gain.high:.2f}x at most on top of {' + '.join(on)}: processes that run the same "
                f"may differ by {self._shown:.2f}x"
            )
        return ""

    def _verdict(self, measured: Compared, ratio: Ratio | None) -> Verdict:
        if measured.failure:
            return "not applicable" if measured.inapplicable else "failed"
        if measured.check is None or not measured.check.ok or ratio is None:
            return "outputs differ"
        return verdict_of(ratio.widened(self.bench.noise), measured.check)

    def _give_up(self) -> None:
        self.found.complete = False
        done = {step.lever for step in self.found.steps} | self.found.untried.keys()
        known = self._hopeless() if self.found.kept else []
        self.found.untried |= {
            name: self.oracle.reasons[name] if name in known else _NO_TIME
            for name in self.levers
            if name not in done
        }

    def _confirm(self) -> None:
        """Measure the last stack again, in fresh processes, against the baseline; drop levers until one holds."""
        while self.found.kept:
            try:
                again = self.bench.compare(self.found.stack, (), fresh=True)
            except OutOfTimeError:
                return
            self.found.confirmations += 1
            verdict = self._verdict(again, again.total)
            if verdict == "verified":
                self.found.confirmation = again
                return
            self._drop(verdict, again.failure)

    def _drop(self, verdict: Verdict, failure: str) -> None:
        """Take the last lever off again."""
        dropped = self.found.kept.pop()
        told = f"measured again against the baseline, the stack with it was: {failure or verdict}"
        at = self.found.steps.index(dropped)
        self.found.steps[at] = replace(dropped, verdict=verdict, reason=told)


def _comparisons(steps: Iterable[Step]) -> int:
    return sum(not step.measured.inapplicable for step in steps)


def _over(gain: Predicted, factor: float) -> Predicted:
    return Predicted(gain.low / factor, gain.expected / factor, gain.high / factor)
