"""The steps of a trace as samples: device time, busy time by class, idle time by cause, activities and launches of each.

An activity belongs to the step around its launch, and a gap to the step of the activity that ends it. So the steps of a
loop follow each other without a hole, and what the host does between two steps (loading data, sampling a token) is time
of the second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers.diff.pieces import step_spans
from mmprof.analyzers.idle import CAUSES
from mmprof.analyzers.phases import SpanTree, phase_spans

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

WINDOW: Final = "window"
"""The name of the one step of a trace that has no others."""

_BUSY: Final = "busy_ns"


class Steps(Struct, frozen=True):
    """One number per step for each of the columns, by start of the step.

    Attributes:
        name: `step` for the profiler's, a phase, or `window` for the whole window as one step.
        columns: time_ns, busy_ns, idle_ns, activities, launches, class.NAME and cause.NAME; times are ns.
    """

    name: str
    columns: dict[str, list[int]]

    @property
    def count(self) -> int:
        """Number of steps that launched activities."""
        return len(self.columns["time_ns"])


def main_steps(view: View) -> Steps:
    """The steps that a user means, as in a diff: the profiler's, else the phase that repeats and takes most; else the window."""
    spans = step_spans(view.trace)
    found = _steps(view, str(spans["phase"][0]), spans) if spans.height else None
    return found if found and found.count else _whole_window(view)


def phase_steps(view: View) -> list[Steps]:
    """The instances of each phase of a view."""
    instances = phase_spans(view.trace).filter(pl.col("index").is_not_null())
    parts = instances.partition_by("phase", as_dict=True)
    every = [_steps(view, str(name), spans) for (name,), spans in parts.items()]
    return [steps for steps in every if steps.count]


def _whole_window(view: View) -> Steps:
    only = pl.Series("step", [0], dtype=pl.UInt32)
    return _summed(view, WINDOW, only.new_from_index(0, view.activities.height))


def _steps(view: View, name: str, spans: pl.DataFrame) -> Steps:
    launched = view.activities.select(
        pl.col("launch_start_ns").fill_null(pl.col("start_ns"))
    ).to_series()
    return _summed(view, name, SpanTree.of(spans).containing(launched))


def _summed(view: View, name: str, step: pl.Series) -> Steps:
    activities = view.activities.select("row", "class", "own_ns", "launch", step=step)
    owner = activities.select("row", "step")
    gaps = view.gaps.join(owner, on="row", how="left").filter(pl.col("step").is_not_null())
    idle = gaps.group_by("step").agg(
        idle_ns=(pl.col("end_ns") - pl.col("start_ns")).sum(),
        **{f"cause.{cause}": pl.col(cause).sum() for cause in CAUSES},
    )
    whole = (
        _busy(activities.filter(pl.col("step").is_not_null()))
        .join(idle, on="step", how="left")
        .fill_null(0)
        .with_columns(time_ns=pl.col(_BUSY) + pl.col("idle_ns"))
        .sort("step")
        .drop("step")
    )
    return Steps(name, {column.name: column.to_list() for column in whole})


def _busy(activities: pl.DataFrame) -> pl.DataFrame:
    """Per step: busy_ns, activities, launches and the time of each class that the view has."""
    of_class = {
        f"class.{name}": pl.col("own_ns").filter(pl.col("class") == name).sum()
        for name in activities["class"].unique().sort()
    }
    return activities.group_by("step").agg(
        pl.col("own_ns").sum().alias(_BUSY),
        activities=pl.len().cast(pl.Int64),
        launches=pl.col("launch").drop_nulls().n_unique().cast(pl.Int64),
        **of_class,
    )
