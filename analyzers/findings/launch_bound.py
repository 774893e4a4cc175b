"""MM101: the host is too slow to keep the device busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import (
    about_idle,
    idle_parts,
    idle_words,
    python_words,
    total,
)
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import STALL_NS
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# With less, the device is the bottleneck: even without these gaps the window would be at most a ninth shorter.
LAUNCH_BOUND_SHARE: Final = 0.10
_HOST_CAUSES: Final = ("python", "dispatch", "runtime", "launch")


@finding("MM101", "launch-bound window", lever="cuda_graphs")
def launch_bound(view: View) -> Match | None:
    """The device runs out of work because the host needs longer to launch a kernel than the device needs to run it.

    The kernels themselves are not the limit: making them faster changes nothing until launches become cheaper. Replay
    the repeated part as a CUDA graph; torch.compile with mode "reduce-overhead" does so, and a static KV cache keeps the
    shapes of a decoding loop fixed for it. Fewer, larger kernels (torch.compile, larger batches) help as well. On a CPU,
    where operators are not launched but called, torch.compile removes their dispatch. The profiler itself lengthens host
    time, so the gap without it is smaller than shown.
    """
    gaps = _late_launches(view)
    if total(gaps, "part_ns") < LAUNCH_BOUND_SHARE * view.window_ns or gaps.is_empty():
        return None
    if view.is_host:
        return about_idle(view, gaps, title=_host_title(view, gaps), lever="torch_compile")
    return about_idle(view, gaps, title=_device_title(view, gaps))


def _late_launches(view: View) -> pl.DataFrame:
    """Gaps that the host caused, with the latency of a launch that came late.

    A longer stall of the host is no launch (MM118), and a longer latency has another reason (MM116).
    """
    host_ns = pl.sum_horizontal(_HOST_CAUSES)
    late = idle_parts(view, *_HOST_CAUSES, "queue").filter(host_ns > 0, host_ns < STALL_NS)
    latency = late.with_columns(
        queue=pl.when(pl.col("queue") < STALL_NS).then("queue").otherwise(0)
    )
    return latency.with_columns(part_ns=host_ns + pl.col("queue"))


def _device_title(view: View, gaps: pl.DataFrame) -> str:
    launches = view.selected.filter(pl.col("launch").is_first_distinct(), pl.col("launch") >= 0)
    call_ns = (launches["launch_end_ns"] - launches["launch_start_ns"]).median()
    return (
        f"{idle_words(view, total(gaps, 'part_ns'))} waiting for the host to launch: "
        f"{format_count(launches.height, 'launch', 'launches')} of {format_ns(float(str(call_ns)))} median; most of the wait "
        f"is {_main_cause(view, gaps)}"
    )


def _host_title(view: View, gaps: pl.DataFrame) -> str:
    lengths = view.selected["end_ns"] - view.selected["start_ns"]
    return (
        f"{idle_words(view, total(gaps, 'part_ns'))}: {format_count(len(lengths), 'operator')} of "
        f"{format_ns(float(str(lengths.median())))} median, most of the time between them is {_main_cause(view, gaps)}"
    )


def _main_cause(view: View, gaps: pl.DataFrame) -> str:
    words = {
        "python": python_words(view),
        "dispatch": "inside operators, before the launch (dispatch)",
        "runtime": "in other runtime calls",
        "launch": "in the launch calls themselves",
        "queue": "the latency from launch to start",
    }
    return words[max(words, key=lambda cause: total(gaps, cause))]
