"""MM104: linear layers that only read weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_bytes, format_count, format_rate

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Up to 16 to 32 rows the int4 kernel Marlin stays close to its ideal factor of 4 (its README, IST-DASLab/marlin).
SMALL_BATCH_ROWS: Final = 32
# From 16 to 4 bits a weight at most; from 16 to 8 bits, which loses less, as the expected step.
MOST_SAVED: Final = 1 - 1 / 4
EXPECTED_SAVED: Final = 1 - 1 / 2
_FLOATS: Final = ("float", "c10::BFloat16", "c10::Half")


@finding("MM104", "weight-bound linear layers", lever="quantization_weight_only")
def weight_bandwidth(view: View) -> Match | None:
    """With few rows a linear layer does little arithmetic: its time is the time to read its weights from memory.

    Weight-only quantization makes the weights two (int8) or four (int4) times smaller, and these layers faster by nearly as
    much. It is lossy: check the quality of the outputs, and compile the model, because an eager dequantization reads and
    writes the full weights again. A larger batch uses each weight more often and costs nothing in quality.
    """
    layers = products(view).filter(
        (pl.col("class") == "linear") & (pl.col("bound") == "memory"),
        pl.col("m") <= SMALL_BATCH_ROWS,
        pl.col("dtype").is_in(_FLOATS),
        pl.col("second_bytes") > pl.col("first_bytes"),
    )
    if not significant(view, total(layers, "own_ns")):
        return None
    weights = layers["second_bytes"] / layers["moved_bytes"].clip(1)
    removable_ns = int((layers["own_ns"] * weights * MOST_SAVED).sum())
    return about_activities(
        view,
        layers,
        title=_title(view, layers),
        removable_ns=removable_ns,
        expected_share=EXPECTED_SAVED / MOST_SAVED,
    )


def _title(view: View, layers: pl.DataFrame) -> str:
    time_ns, read = total(layers, "own_ns"), total(layers, "second_bytes")
    rate, rows = format_rate(read / max(time_ns, 1) * 1e9), layers.select(pl.col("m").max()).item()
    return (
        f"{share_words(view, time_ns)} in {format_count(layers.height, 'call')} of linear layers with at most "
        f"{format_count(rows, 'row')}, to read {format_bytes(read)} of weights at {rate}"
    )
