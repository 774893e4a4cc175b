"""MM110: the device waits for input data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import (
    about_idle,
    idle_parts,
    idle_words,
    longest,
    main_place,
    steps,
    stretches,
    total,
)
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Kineto's public pair of resnet50 traces: 0 to 4 workers took the window from 996 to 802 ms, of 284 ms of loader idle.
EXPECTED_SHARE: Final = 0.7
# The iterator of a loader without workers, as Kineto's annotations name it.
_NO_WORKERS: Final = "_SingleProcessDataLoaderIter"


@finding("MM110", "waiting for the data loader", lever="dataloader_workers")
def data_loader(view: View) -> Match | None:
    """The device waits while the host waits for the next batch, or prepares it itself.

    With num_workers=0 the training or inference loop loads and preprocesses every batch in its own thread, and the device
    idles meanwhile. Give the loader workers (num_workers, persistent_workers=True) and let them run ahead
    (prefetch_factor); where it already has workers, more of them, cheaper preprocessing, or preprocessing on the device.
    """
    gaps = idle_parts(view, "dataloader")
    if not significant(view, total(gaps, "part_ns")):
        return None
    waits = stretches(view, "dataloader").with_columns(
        wait_ns=pl.col("end_ns") - pl.col("start_ns")
    )
    ordered = waits.sort("wait_ns", "start_ns", descending=[True, False])
    title = _title(view, gaps, ordered["row"])
    match = about_idle(view, gaps, title=title, expected_share=EXPECTED_SHARE)
    return replace(match, where=main_place(view, ordered["row"], ordered["wait_ns"]))


def _title(view: View, gaps: pl.DataFrame, rows: pl.Series) -> str:
    count = steps(view)
    in_steps = f" over {format_count(count)} steps" if count > 1 else ""
    names = view.trace.host["name"][rows.drop_nulls()].cast(pl.String)
    workers = ", and the loader has no workers" if names.str.contains(_NO_WORKERS).any() else ""
    return (
        f"{idle_words(view, total(gaps, 'part_ns'))} waiting for the data loader{in_steps}; "
        f"the longest wait is {format_ns(longest(gaps))}{workers}"
    )
