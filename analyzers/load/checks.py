"""What a reader of a trace's numbers should know of it: facts about the built tables that limit what can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.notes import Note, note

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

# Times are relative to a moment months before the recording, or to 1970; only a file made by hand starts near 0.
_REAL_TIMES_FROM_NS: Final = 10**9
_LAUNCH: Final = r"(?i)launch(?:$|[^h])"  # all but cudaLaunchHostFunc, which runs on the host


def check(trace: Trace) -> list[Note]:
    """The notes on a trace's links and times, in the order of their codes."""
    if trace.activities.is_empty():
        launched = _counted("MM-N024", _launches(trace.host))
        return [
            *(launched or [note("MM-N004")]),
            *_counted("MM-N009", _repeated_launches(trace.host)),
        ]
    return [
        *_carry_in(trace.activities),
        *(
            [note("MM-N003")]
            if trace.activities["launch"].null_count() == len(trace.activities)
            else []
        ),
        *_counted("MM-N006", _overlaps_on_a_stream(trace.activities)),
        *_counted("MM-N007", _before_their_launch(trace.activities, trace.host)),
        *_counted("MM-N009", _repeated_launches(trace.host)),
        *_counted("MM-N018", _at_time_zero(trace.activities)),
    ]


def _counted(code: str, count: int) -> list[Note]:
    return [note(code, count=count)] if count else []


def _carry_in(activities: pl.DataFrame) -> list[Note]:
    dur_ns = activities["end_ns"] - activities["start_ns"]
    carried = activities["carry_in"]
    if not carried.any():
        return []
    share = int(dur_ns.filter(carried).sum()) / max(int(dur_ns.sum()), 1)
    return [note("MM-N002", count=int(carried.sum()), share=f"{share:.1%}")]


def _overlaps_on_a_stream(activities: pl.DataFrame) -> int:
    """Activities that start while an earlier one of their stream still runs; they come by device and start."""
    reached = pl.col("end_ns").cum_max().shift(1).over("device", "stream")
    return activities.filter(pl.col("start_ns") < reached).height


def _before_their_launch(activities: pl.DataFrame, host: pl.DataFrame) -> int:
    called_ns = host["start_ns"][activities["launch"]]
    return int((activities["start_ns"] < called_ns).sum())


def _launches(host: pl.DataFrame) -> int:
    called = host.filter(pl.col("kind").is_in(c.LAUNCH_KINDS))["name"].cast(pl.String)
    return int(called.str.contains(_LAUNCH).sum())


def _repeated_launches(host: pl.DataFrame) -> int:
    ids = host.filter(pl.col("kind").is_in(c.LAUNCH_KINDS) & (pl.col("correlation") > 0))[
        "correlation"
    ]
    return len(ids) - ids.n_unique()


def _at_time_zero(activities: pl.DataFrame) -> int:
    starts = activities["start_ns"]
    return int((starts == 0).sum()) if starts.max() >= _REAL_TIMES_FROM_NS else 0  # type: ignore[operator]
