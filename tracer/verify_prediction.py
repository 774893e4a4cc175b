"""What a trace of the baseline said before the levers were tried."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.whatif import Replay
from mmprof.tracer.lever import Lever
from mmprof.tracer.verify_results import Predicted


def predictions(trace: Path, levers: Iterable[Lever]) -> dict[str, Predicted]:
    """The speedups that a trace predicts, by the levers' ids; those of which it says nothing are left out."""
    try:
        view = next(views(load(trace), Options()), None)
    except MmprofError:
        return {}
    replay = Replay(view) if view is not None else None
    if replay is None or not replay.window_ns or not replay.reliable:
        return {}
    found = {lever.id: lever.predict(replay)[0] for lever in levers if lever.predict is not None}
    return {
        name: Predicted(prediction.low, prediction.expected, prediction.high)
        for name, prediction in found.items()
        if prediction is not None
    }
