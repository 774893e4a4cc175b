"""MM112: matrix products whose rows do not fit the matrix units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Tensor cores want rows of 16 bytes: 8 elements of 16 bits (NVIDIA, Matrix Multiplication Background User's Guide).
ALIGNED_ELEMENTS: Final = 8
_HALF_TYPES: Final = ("c10::Half", "c10::BFloat16")


@finding("MM112", "unaligned matrix products", lever="padding")
def unaligned_matmul(view: View) -> Match | None:
    """Matrix products in 16-bit types have rows that are no multiple of 8 elements, so they are not aligned to 16 bytes.

    The fast kernels load 16 bytes at a time; for such shapes the library takes slower ones (often with `align1` or
    `align2` in the name). Pad the dimension that lies contiguous in memory to a multiple of 8, better 64: the vocabulary,
    a hidden size, or the sequence length of a batched attention product. For attention a fused kernel solves it too.
    """
    found = products(view).filter(
        pl.col("dtype").is_in(_HALF_TYPES),
        pl.col("stored").list.eval(pl.element() % ALIGNED_ELEMENTS != 0).list.any(),
        pl.col("m") > 1,
    )
    if not significant(view, total(found, "own_ns")):
        return None
    removable_ns = int((found["own_ns"] - found["roofline_ns"]).clip(0).sum())
    return about_activities(view, found, title=_title(view, found), removable_ns=removable_ns)


def _title(view: View, found: pl.DataFrame) -> str:
    shapes = found.group_by("m", "n", "k").agg(pl.col("own_ns").sum())
    m, n, k, _ = shapes.sort("own_ns", "m", "n", "k", descending=True).row(0)
    return (
        f"{share_words(view, total(found, 'own_ns'))} in {format_count(found.height, '16-bit matrix product')} with rows that "
        f"are no multiple of {ALIGNED_ELEMENTS} elements, most of it at m={m}, n={n}, k={k}"
    )
