"""What fused attention gains: each product, softmax, product becomes one operator that never stores the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.thresholds import SHORT_NS
from mmprof.analyzers.findings.unfused_attention import FUSED_EFFICIENCY
from mmprof.analyzers.units import format_count, format_share
from mmprof.analyzers.whatif.changes import HOST_WORK, Change, Removed, Replaced
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

_NAME: Final = pl.col("operator_name").cast(pl.String)
_IS_PRODUCT: Final = _NAME.is_in(["aten::bmm", "aten::baddbmm"])


def fused_attention(replay: Replay) -> Predicted:
    """Predict scaled_dot_product_attention for attention that is written out."""
    chains = _chains(replay.view)
    if chains.is_empty():
        return None, "no attention is written out as product, softmax and product"
    least = _least_ns(replay.view, chains)
    kept = chains.unique("chain", keep="first", maintain_order=True)
    removed = Removed(
        chains.filter(~pl.col("row").is_in(kept["row"].implode()))["row"], host=HOST_WORK
    )
    case = Case(
        low=[_fused(kept, least, FUSED_EFFICIENCY / 2), removed],
        expected=[_fused(kept, least, FUSED_EFFICIENCY), removed],
        high=[_fused(kept, least, 1.0), removed],
    )
    known = least["known"].all()
    said = [
        f"{format_count(chains['chain'].n_unique(), 'chain')} of product, softmax and product become one operator each",
        f"the fused operator reaches {format_share(FUSED_EFFICIENCY)} of its roofline (low: half of that, high: all of it)"
        if known
        else "the products keep their time, for want of shapes or of the device's peaks",
        "nothing asks for the attention weights, and the mask is one that the fused operator takes",
    ]
    return predicted(replay, case, rows=chains["row"], assumptions=said)


def _chains(view: View) -> pl.DataFrame:
    """The activities of written-out attention in launch order, with `chain`: one softmax each."""
    ordered = view.activities.sort("thread", "launch_start_ns", "start_ns").with_row_index("place")
    found = ordered.filter("in_chain")
    is_new = (pl.col("place") != pl.col("place").shift(1) + 1).fill_null(value=True)
    runs = found.with_columns(run=is_new.cum_sum(), product=_IS_PRODUCT)
    # of several softmaxes in a run, each begins where the product before its own begins: every second product
    odd = (pl.col("product").cum_sum().over("run") - 1) // 2
    begins = (odd != odd.shift(1).over("run")).fill_null(value=True)
    return runs.with_columns(chain=begins.cum_sum())


def _least_ns(view: View, chains: pl.DataFrame) -> pl.DataFrame:
    """What one fused operator needs in the place of each chain.

    Returns:
        `chain`; `least_ns`, its roofline, else the time of the products; `known`, whether that is a roofline; `shortest_ns`, less
        than which no operator takes; `spent_ns`, what the chain takes.
    """
    spent = chains.group_by("chain").agg(
        spent_ns=pl.col("dur_ns").sum(),
        products_ns=pl.col("dur_ns").filter("product").sum(),
        shortest_ns=pl.min_horizontal(pl.col("dur_ns").min(), pl.lit(SHORT_NS)),
    )
    nothing = pl.lit(None, pl.Float64)
    roofline = (
        spent.select("chain", roofline_ns=nothing)
        if view.match is None
        else _rooflines(view, chains, view.match.spec)
    )
    return spent.join(roofline, on="chain", how="left").select(
        "chain",
        "spent_ns",
        known=pl.col("roofline_ns").is_not_null(),
        least_ns=pl.coalesce("roofline_ns", pl.col("products_ns").cast(pl.Float64)),
        shortest_ns="shortest_ns",
    )


def _rooflines(view: View, chains: pl.DataFrame, spec: DeviceSpec) -> pl.DataFrame:
    """Roofline of each chain whose two products are known, when Q, K, V and the result cross memory once."""
    places = chains.select("chain", op_row="operator").drop_nulls().unique("op_row")
    found = products(view).join(places, on="op_row", how="inner").sort("launch_start_ns")
    fastest = max(spec.peak_flops.values())
    peaks = {d: float(spec.peak(d) or fastest) for d in found["dtype"].unique().to_list()}
    peak = pl.col("dtype").replace_strict(peaks, return_dtype=pl.Float64)
    first = pl.col("op_row").is_first_distinct().over("chain") & (
        pl.int_range(pl.len()).over("chain") == 0
    )
    scores = pl.when(first).then("result_bytes").otherwise("first_bytes")
    moved = pl.sum_horizontal("first_bytes", "second_bytes", "result_bytes") - scores
    needs = pl.max_horizontal(pl.col("flops") / peak, moved / spec.bandwidth_bytes_per_s) * 1e9
    by_chain = found.with_columns(needs_ns=needs).group_by("chain").agg(
        pl.len().alias("count"), roofline_ns=pl.col("needs_ns").sum()
    )  # fmt: skip
    return by_chain.filter(pl.col("count") == 2).select("chain", "roofline_ns")


def _fused(kept: pl.DataFrame, least: pl.DataFrame, efficiency: float) -> Change:
    """The first activity of each chain stands for the fused one, which takes no longer than the chain did."""
    reached = pl.when("known").then(pl.col("least_ns") / efficiency).otherwise("least_ns")
    at_least = pl.max_horizontal(reached, "shortest_ns")
    left = least.select("chain", left_ns=pl.min_horizontal(at_least, "spent_ns").round())
    return Replaced(kept.select("row", "chain").join(left, on="chain").select("row", "left_ns"))
