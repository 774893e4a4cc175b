"""MM108: kernels too short to be worth their launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import FUSABLE, SHORT_NS, significant
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# With fewer, short kernels are the exception in this window.
SHORT_SHARE: Final = 0.5
# With fewer kernels there is nothing to fuse or to replay.
MANY_KERNELS: Final = 20


@finding("MM108", "many short kernels", lever="torch_compile")
def short_kernels(view: View) -> Match | None:
    """Most kernels run for a few microseconds, less than it takes to launch them or to fill the device.

    Such a kernel pays for its start, for reading its inputs and for writing results that the next one reads again.
    torch.compile fuses chains of elementwise operations, normalizations and reductions into one kernel; fused operators
    (rms_norm, fused optimizers) do so for known chains. What remains can be replayed as a CUDA graph, which makes each
    launch cheap but does not shorten the kernels.
    """
    if view.is_host:
        return None
    kernels = view.activities.filter(pl.col("kind") == c.KERNEL)
    short = kernels.filter(_is_short())
    fusable = short.filter(pl.col("class").is_in(FUSABLE))
    few = short.height < max(MANY_KERNELS, SHORT_SHARE * kernels.height)
    if few or not significant(view, total(fusable, "own_ns")):
        return None
    return about_activities(view, fusable, title=_title(view, kernels, short, fusable))


def _is_short() -> pl.Expr:
    """Shorter than the limit, or than its launch call where that launched nothing else."""
    call_ns = pl.col("launch_end_ns") - pl.col("launch_start_ns")
    own_call = pl.when(pl.len().over("launch") == 1).then(call_ns)
    return pl.col("dur_ns") < pl.max_horizontal(pl.lit(SHORT_NS), own_call)


def _title(view: View, kernels: pl.DataFrame, short: pl.DataFrame, fusable: pl.DataFrame) -> str:
    median = format_ns(float(str(short["dur_ns"].median())))
    return (
        f"{format_count(short.height)} of {format_count(kernels.height)} kernels are shorter than their launch or than "
        f"{format_ns(SHORT_NS)} (median {median}); the {format_count(fusable.height)} that could be fused take "
        f"{share_words(view, total(fusable, 'own_ns'))}"
    )
