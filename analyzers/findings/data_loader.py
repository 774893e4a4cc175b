"""MM110: the device waits for input data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmprof.analyzers.findings.evidence import about_idle, idle_parts, steps, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    import polars as pl

    from mmprof.analyzers.view import View

# Kineto's public pair of resnet50 traces: 0 to 4 workers took the window from 996 to 802 ms, of 284 ms of loader idle.
EXPECTED_SHARE: Final = 0.7


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
    return about_idle(view, gaps, title=_title(view, gaps), expected_share=EXPECTED_SHARE)


def _title(view: View, gaps: pl.DataFrame) -> str:
    time_ns, longest, count = total(gaps, "part_ns"), int(gaps["part_ns"][0]), steps(view)
    who = "The main thread spends" if view.is_host else "GPU idle"
    in_steps = f" over {format_count(count)} steps" if count > 1 else ""
    return (
        f"{who} {format_ns(time_ns)} ({format_share(time_ns, view.window_ns)}) waiting for the data loader{in_steps}, "
        f"the longest wait {format_ns(longest)}"
    )
