"""Replays a recorded window with changed causes: what a lever would gain, before it is tried.

`Replay` reads the graph of what waits for what out of a `View`; a `Change` changes it; `predicted` makes a `Prediction` of the
changes that a lever states.
"""

from mmprof.analyzers.whatif.changes import (
    Change,
    Collapsed,
    HostAdded,
    HostScaled,
    Removed,
    Replaced,
    Shortened,
    Unwaited,
)
from mmprof.analyzers.whatif.prediction import Case, Predicted, Prediction, predicted
from mmprof.analyzers.whatif.replay import ERROR_LIMIT, Replay

__all__ = [
    "ERROR_LIMIT",
    "Case",
    "Change",
    "Collapsed",
    "HostAdded",
    "HostScaled",
    "Predicted",
    "Prediction",
    "Removed",
    "Replaced",
    "Replay",
    "Shortened",
    "Unwaited",
    "predicted",
]
