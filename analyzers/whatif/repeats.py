"""What remembering gains: calls of an encoder that compute the same thing again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.findings.evidence import steps
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count
from mmprof.analyzers.whatif.changes import HOST_WORK, Removed
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

_ENCODER: Final = r"\(\w*Encoder\)$|^nn\.Module: \w*Encoder(?:_\d+)?$"


def repeated_encoder(replay: Replay) -> Predicted:
    """Predict an encoder that runs once where it ran several times with the same operators on the same shapes."""
    calls = _encoder_calls(replay.view)
    if calls.is_empty():
        return None, "no module of the trace is an encoder"
    runs = _runs(replay.view, calls)
    # where the whole window is several steps, as many calls are a new request each
    first = pl.when(pl.col("root").is_null()).then(steps(replay.view)).otherwise(1)
    again = runs.filter(pl.col("place") >= first)
    if again.is_empty():
        return None, "no encoder runs twice with the same operators and shapes"
    rows = again["rows"].explode()
    change = [Removed(rows, host=HOST_WORK)]
    said = [
        f"{format_count(again.height, 'encoder call')} with the operators and shapes of one before; the input is taken to be the "
        "same",
        "low: it is not, and nothing is gained",
    ]
    spent_ns = replay.spent_ns(rows)
    return predicted(
        replay, Case([], change, change), rows=rows, assumptions=said, time_ns=spent_ns
    )


def _encoder_calls(view: View) -> pl.DataFrame:
    """Calls of encoders that lie in no other encoder, with `root`, the outermost module call around each, if any.

    Calls in different calls of a whole model belong to different requests.
    """
    host = view.trace.host
    name = host["name"].cast(pl.String)
    module = host["kind"].is_in([c.ANNOTATION, c.PYTHON]) & name.str.starts_with(MODULE_PREFIX)
    encoder = module & name.str.contains(_ENCODER)
    outer = encoder & nesting.above(host["parent"], encoder).is_null()
    root = nesting.above(host["parent"], module & nesting.above(host["parent"], module).is_null())
    return (
        host.with_columns(root=root)
        .filter(outer)
        .select("thread", "start_ns", "end_ns", "root", encoder=pl.col("name").cast(pl.String))
    )


def _runs(view: View, calls: pl.DataFrame) -> pl.DataFrame:
    """Each call with `rows`, the activities it launched, and `place`, how many equal calls were before it."""
    spans = (
        calls.sort("start_ns")
        .with_row_index("run")
        .rename({"start_ns": "opened_ns", "end_ns": "closed_ns"})
    )
    inside = (
        view.activities.filter(pl.col("launch_start_ns").is_not_null())
        .sort("launch_start_ns")
        .join_asof(
            spans, left_on="launch_start_ns", right_on="opened_ns", by="thread", check_sortedness=False
        )
        .filter(pl.col("launch_start_ns") < pl.col("closed_ns"))
    )  # fmt: skip
    what = pl.struct(pl.col("operator_name").cast(pl.String), "call").hash()
    # the order counts as well: a position is hashed with each operator
    placed = inside.with_columns(what=pl.struct(what, pl.int_range(pl.len()).over("run")).hash())
    runs = placed.group_by("run", maintain_order=True).agg(
        pl.col("encoder", "root").first(),
        pl.col("what").sum(),
        count=pl.len(),
        rows=pl.col("row"),
    )
    equal = ("encoder", "root", "what", "count")
    return runs.sort("run").with_columns(place=pl.int_range(pl.len()).over(equal))
