"""What a trace of the baseline says about stacks, before any of them is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.whatif import Case, Prediction, Replay
from mmprof.analyzers.whatif.prediction import speedups
from mmprof.tracer.verify_results import Predicted

if TYPE_CHECKING:
    from mmprof.tracer.optimization.stacks import Levers, Stack

_NOT_SHOWN: Final = "a trace does not show what it would gain"


@dataclass(slots=True)
class Forecast:
    """Predictions by replay.

    Attributes:
        replay: The baseline; None where there is none that can be trusted.
        alone: The prediction of each lever for which there is one.
        reasons: Why there is none, for the others.
        silent: The levers of which no trace can say anything; the others without a prediction change nothing in this one.
    """

    replay: Replay | None = None
    alone: dict[str, Prediction] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    _joint: dict[frozenset[str], Predicted] = field(default_factory=dict)

    def of(self, stack: Stack) -> Predicted | None:
        """The speedup of a stack over the baseline: one replay with the changes of all; None where it says nothing of any."""
        names = frozenset(name for name in stack if name in self.alone)
        if self.replay is None or not names:
            return None
        if names not in self._joint:
            case = _together([self.alone[name] for name in sorted(names)])
            self._joint[names] = Predicted(*speedups(self.replay, case))
        return self._joint[names]

    def gain(self, stack: Stack, on: Stack) -> Predicted | None:
        """The speedup of a stack over another one; None where the trace says nothing of what differs."""
        if not (set(stack) ^ set(on)) & self.alone.keys():
            return None
        new, old = self.of(stack) or Predicted(1, 1, 1), self.of(on) or Predicted(1, 1, 1)
        ratios = (new.low / old.low, new.expected / old.expected, new.high / old.high)
        return Predicted(min(ratios), ratios[1], max(ratios))


def forecast(trace: Path, levers: Levers) -> Forecast:
    """Predict each lever from a trace of the baseline."""
    replay = _replay(trace)
    if replay is None:
        return Forecast(silent=set(levers), reasons=dict.fromkeys(levers, "no replay"))
    found = Forecast(replay)
    for name, lever in levers.items():
        prediction, why = (None, _NOT_SHOWN) if lever.predict is None else lever.predict(replay)
        if prediction is not None:
            found.alone[name] = prediction
            continue
        found.reasons[name] = lever.unseen or why
        if lever.predict is None or lever.unseen:
            found.silent.add(name)
    return found


def _replay(trace: Path) -> Replay | None:
    try:
        view = max(views(load(trace), Options()), key=lambda each: each.busy_ns, default=None)
    except MmprofError:
        return None
    replay = Replay(view) if view is not None else None
    return replay if replay is not None and replay.reliable else None


def _together(predictions: Sequence[Prediction]) -> Case:
    return Case(
        low=[change for p in predictions for change in p.case.low],
        expected=[change for p in predictions for change in p.case.expected],
        high=[change for p in predictions for change in p.case.high],
    )
