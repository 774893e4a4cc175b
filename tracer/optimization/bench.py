"""Measures stacks in processes of their own, and keeps each measurement before the next one begins."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mmprof.tracer.optimization.records import BaselineMeasured, Compared, Ratio, RequestSeen
from mmprof.tracer.optimization.search import OutOfTimeError
from mmprof.tracer.optimization.sides import Question, Sides, Timetable
from mmprof.tracer.order import Progress, silent
from mmprof.tracer.verify_recording import recorded_request
from mmprof.tracer.verify_sides import Side, alternated, speedup
from mmprof.tracer.verify_statistics import mann_whitney_p
from mmprof.tracer.verify_trial import TrialEndedError

if TYPE_CHECKING:
    from mmprof.tracer.optimization.stacks import Stack
    from mmprof.tracer.optimization.store import Run
    from mmprof.tracer.verify_results import OutputCheck, RecordedRequest

_REFERENCE: Final = "reference.pt"
_TRACE: Final = "trace.json"


@dataclass(slots=True)
class ProcessBench:
    """A bench whose sides are processes.

    Attributes:
        question: What is measured.
        run: Where it is kept.
        folder: For files that end with the search.
        timetable: When it must have ended.
        progress: Told what begins.
        reused: Comparisons that were known already.
        measured: Comparisons that were made.
    """

    question: Question
    run: Run
    folder: Path
    timetable: Timetable
    progress: Progress = silent
    reused: int = 0
    measured: int = 0
    _took_s: list[float] = field(default_factory=list)
    _sides: Sides = field(init=False)

    def __post_init__(self) -> None:
        reference = self.folder / _REFERENCE
        self._sides = Sides(self.question, self.timetable, reference, self._record)

    @property
    def noise(self) -> float:
        """Factor by which two processes that run the same may differ."""
        return self.baseline().noise

    def baseline(self) -> BaselineMeasured:
        """The workload without levers, compared with itself.

        Raises:
            TrialEndedError: It cannot be run.
        """
        known = self.run.of(BaselineMeasured)
        if known:
            return known[-1]
        self.progress("comparing the baseline with itself")
        base, twin = self._sides.base(), self._sides.kept(())
        check = self._repeatable(base, twin)
        one, two = alternated([base, twin], self.question.effort)
        found = BaselineMeasured(
            deterministic=self._sides.deterministic,
            repeatable=check,
            runs_s=one,
            noise=speedup(one, two, self.question.effort).noise,
            peak_bytes=base.peak_bytes(),
        )
        self.run.append(found)
        return found

    def _repeatable(self, base: Side, twin: Side) -> OutputCheck:
        """Whether both give the same outputs, and the first one in another run: equal seeds can make the first runs alike."""
        check = twin.compare(self._sides.reference, "reassociation", 0.0)
        if self._sides.deterministic or not check.ok:
            return check
        return base.compare(self._sides.reference, "reassociation", 0.0)

    def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
        """Measure a stack, unless that is known: see `search.Bench`."""
        known = self._known(stack, on, fresh=fresh)
        if known is not None:
            self.reused += 1
            return known
        self.timetable.confirming = fresh
        left_s = self.timetable.left_s() if fresh else self.timetable.turn_left_s()
        if left_s <= min(self._took_s, default=0.0):
            raise OutOfTimeError
        start = time.monotonic()
        found = self._compared(stack, on, fresh=fresh)
        found = msgspec.structs.replace(found, took_s=time.monotonic() - start)
        self._took_s.append(found.took_s)
        self.run.append(found)
        self.measured += 1
        return found

    def allow(self, share: float) -> None:
        """See `search.Bench`."""
        self.timetable.allow(share)

    def recorded(self, stack: Stack) -> RecordedRequest | None:
        """Where the time of a recorded request goes; None where none can be recorded."""
        if self._seen(stack) is None:
            self.timetable.confirming = True
            with suppress(TrialEndedError):
                self._record(stack, self._sides.kept(stack))
        return self._seen(stack)

    def close(self) -> None:
        """End all processes."""
        self._sides.close()

    def _known(self, stack: Stack, on: Stack, *, fresh: bool) -> Compared | None:
        asked = (list(stack), list(on), self.question.budget(stack), fresh)
        done = (c for c in self.run.of(Compared) if not c.timed_out)
        return next((c for c in done if (c.stack, c.on, c.budget, c.fresh) == asked), None)

    def _compared(self, stack: Stack, on: Stack, *, fresh: bool) -> Compared:
        names = " + ".join(stack)
        self.progress(f"{'confirming' if fresh else 'trying'} {names}")
        empty = Compared(
            stack=list(stack), on=list(on), budget=self.question.budget(stack), fresh=fresh
        )
        try:
            base = self._sides.base()
            # to confirm, another process of the baseline: what the first one is by chance is in all that was measured so far
            others = [self._sides.kept(())] if fresh else [base, self._sides.kept(on)]
            side = self._sides.tried(stack)
            check = self._check(side, stack)
            if not check.ok:
                return msgspec.structs.replace(empty, check=check)
            self.progress(f"measuring {names}")
            return self._timed(empty, [*others, side], check)
        except TrialEndedError as ended:
            self._sides.drop_dead()
            if ended.late:
                raise OutOfTimeError from ended
            return msgspec.structs.replace(
                empty,
                failure=ended.reason,
                inapplicable=ended.inapplicable,
                timed_out=ended.timed_out,
            )

    def _check(self, side: Side, stack: Stack) -> OutputCheck:
        exactness = self.question.combination(stack).exactness
        return side.compare(self._sides.reference, exactness, self.question.budget(stack))

    def _timed(self, empty: Compared, sides: list[Side], check: OutputCheck) -> Compared:
        """What the last of some sides takes, beside the others: the baseline, and what it was made from."""
        runs = alternated(sides, self.question.effort)
        base, on, own = runs[0], runs[-2], runs[-1]
        return msgspec.structs.replace(
            empty,
            check=check,
            total=self._ratio(base, own),
            gain=self._ratio(on, own),
            p_value=mann_whitney_p(on, own),
            baseline_s=base,
            on_s=on,
            runs_s=own,
            setup_cost_s=max(0.0, sides[-1].overhead_s - sides[0].overhead_s),
            peak_bytes=sides[-1].peak_bytes(),
        )

    def _ratio(self, slow_s: list[float], fast_s: list[float]) -> Ratio:
        found = speedup(slow_s, fast_s, self.question.effort)
        return Ratio(found.median, found.low, found.high)

    def _seen(self, stack: Stack) -> RecordedRequest | None:
        seen = self.run.of(RequestSeen)
        return next((each.recorded for each in seen if each.stack == list(stack)), None)

    def _record(self, stack: Stack, side: Side) -> None:
        """Record a request of a process that is not needed any more, and keep where its time went."""
        if self._seen(stack) is not None:
            return
        trace = self.folder / _TRACE
        with suppress(TrialEndedError):
            side.profile(trace)
            found = recorded_request(trace)
            if found is not None:
                self.run.append(RequestSeen(stack=list(stack), recorded=found))
