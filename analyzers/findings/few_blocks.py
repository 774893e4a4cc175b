"""MM113: long kernels that leave most of the device unused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# A kernel takes a few microseconds whatever it does; from here on its time is work that more blocks would share.
LONG_KERNEL_NS: Final = 10_000
# From here on half of the device or more does nothing; a little below the full number is a tile size's rounding.
FEW_BLOCKS_SHARE: Final = 0.5
# CUDA C++ Programming Guide, technical specifications: x up to 2^31 - 1, y and z up to 65,535; more is no grid.
MOST_BLOCKS: Final = (2**31 - 1) * 65_535**2
# Collectives use few blocks on purpose, and a spinning kernel does no work.
_MEANT_TO_BE_SMALL: Final = ("communication", "wait")


@finding("MM113", "kernels with too few blocks")
def few_blocks(view: View) -> Match | None:
    """Kernels run long with fewer blocks than half of the device's multiprocessors, so most of the device does nothing.

    The problem is too small in the dimensions that the kernel spreads over blocks: a small batch, few heads, or one long
    reduction. Batch more work into the call, run independent kernels on several streams, or use a kernel that also splits
    the reduction (split-K products, flash decoding for long contexts). Occupancy alone is no measure here: fast matrix
    kernels run at low occupancy on purpose.
    """
    multiprocessors = _multiprocessors(view)
    if multiprocessors is None or view.is_host:
        return None
    found = _few_blocks(view, multiprocessors)
    removable_ns = int((found["own_ns"] * (1 - found["blocks"] / multiprocessors)).sum())
    if not significant(view, removable_ns):
        return None
    title = _title(view, found, multiprocessors)
    return about_activities(view, found, title=title, removable_ns=removable_ns)


def _multiprocessors(view: View) -> int | None:
    recorded = view.trace.device_properties(view.device).get("numSms")
    if isinstance(recorded, int) and recorded > 0:
        return recorded
    return view.match.spec.num_sms if view.match else None


def _few_blocks(view: View, multiprocessors: int) -> pl.DataFrame:
    kernels = view.activities.filter(
        pl.col("kind") == c.KERNEL,
        pl.col("dur_ns") >= LONG_KERNEL_NS,
        ~pl.col("class").is_in(_MEANT_TO_BE_SMALL),
    )
    blocks = {grid: _blocks(grid) for grid in kernels["grid"].drop_nulls().unique().to_list()}
    counted = kernels.with_columns(
        blocks=pl.col("grid").replace_strict(blocks, default=None, return_dtype=pl.Int64)
    )
    return counted.filter(pl.col("blocks") <= FEW_BLOCKS_SHARE * multiprocessors)


def _blocks(grid: str) -> int | None:
    """Blocks of a grid as it is recorded; None where it is not three positive numbers."""
    try:
        sides = msgspec.json.decode(grid, type=list[int])
    except msgspec.DecodeError:
        return None
    possible = len(sides) == 3 and min(sides) > 0 and math.prod(sides) <= MOST_BLOCKS
    return math.prod(sides) if possible else None


def _title(view: View, found: pl.DataFrame, multiprocessors: int) -> str:
    largest = found.group_by("blocks").agg(pl.col("own_ns").sum())
    blocks = largest.sort("own_ns", "blocks", descending=[True, False])["blocks"][0]
    return (
        f"{share_words(view, total(found, 'own_ns'))} in {format_count(found.height, 'kernel')} of "
        f"{format_ns(LONG_KERNEL_NS)} or more with too few blocks for the {multiprocessors} multiprocessors, most of it with "
        f"{format_count(blocks, 'block')}"
    )
