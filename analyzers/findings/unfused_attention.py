"""MM103: attention written as product, softmax, product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, total
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.view import View

# FlashAttention-2 reaches 50 to 73 % of an A100's peak (arXiv 2307.08691), FlashAttention-3 up to 75 % of an H100's
# (arXiv 2407.08608): half of the roofline is what can be expected, all of it is the bound.
FUSED_EFFICIENCY: Final = 0.5
_SOFTMAX: Final = "softmax"


@finding("MM103", "unfused attention", lever="sdpa")
def unfused_attention(view: View) -> Match | None:
    """Attention runs as separate kernels: a product, a softmax, and another product, with scaling and masks between.

    Each of them writes the full score matrix to memory and reads it again, which takes longer than the arithmetic and
    grows with the square of the sequence length. Use torch.nn.functional.scaled_dot_product_attention, in transformers
    attn_implementation="sdpa": one kernel that never stores the scores. Models that return attention weights, and some
    custom masks and biases, keep the unfused form; a float mask rules out the fastest kernel.
    """
    chain = view.activities.filter("in_chain")
    chain_ns = total(chain, "own_ns")
    if not significant(view, chain_ns):
        return None
    fused_ns = _fused_ns(view)
    if fused_ns is None:
        return _without_costs(view, chain)
    removable_ns = max(0, chain_ns - fused_ns)
    expected = max(0.0, chain_ns - fused_ns / FUSED_EFFICIENCY) / max(removable_ns, 1)
    title = f"{_title(view, chain)}; a fused kernel needs at least {format_ns(fused_ns)}"
    return about_activities(
        view, chain, title=title, removable_ns=removable_ns, expected_share=min(expected, 1.0)
    )


def _without_costs(view: View, chain: pl.DataFrame) -> Match:
    """Without costs the products are taken to stay as they are."""
    is_product = pl.col("operator_name").cast(pl.String).is_in(["aten::bmm", "aten::baddbmm"])
    between = total(chain.filter(~is_product.fill_null(value=False)), "own_ns")
    return about_activities(view, chain, title=_title(view, chain), removable_ns=between)


def _fused_ns(view: View) -> int | None:
    """Roofline of the products when Q, K, V and the result cross memory once and the scores never; None if unknown."""
    if view.match is None:
        return None
    found = _with_softmax_between(view)
    expected = view.activities.filter("in_chain", _is_product())["operator"].n_unique()
    if found.height == 0 or found["op_row"].n_unique() < expected:
        return None
    return int(_limits(found, view.match.spec).sum())


def _is_product() -> pl.Expr:
    return pl.col("operator_name").cast(pl.String).is_in(["aten::bmm", "aten::baddbmm"])


def _with_softmax_between(view: View) -> pl.DataFrame:
    """The chain's products with `after_softmax`: whether the score matrix is what they read, not what they write."""
    chain = view.activities.filter("in_chain")
    softmaxes = chain.filter(
        pl.col("operator_name").cast(pl.String).str.contains(_SOFTMAX, literal=True)
    )
    marks = softmaxes.select("thread", at_ns="launch_start_ns", softmax_ns="launch_start_ns")
    found = products(view).filter("in_chain").with_columns(at_ns="launch_start_ns")
    before = found.sort("at_ns").join_asof(
        marks.sort("at_ns"), on="at_ns", by="thread", check_sortedness=False
    )
    previous = pl.col("launch_start_ns").shift(1).over("thread", order_by="launch_start_ns")
    return before.with_columns(
        after_softmax=(pl.col("softmax_ns") > previous.fill_null(-(2**62))).fill_null(value=False)
    )


def _limits(found: pl.DataFrame, spec: DeviceSpec) -> pl.Series:
    scores_bytes = pl.when("after_softmax").then("first_bytes").otherwise("result_bytes")
    peaks = {d: float(spec.peak(d) or max(spec.peak_flops.values())) for d in found["dtype"].unique()}
    peak = pl.col("dtype").replace_strict(peaks, return_dtype=pl.Float64)
    all_bytes = pl.col("first_bytes") + pl.col("second_bytes") + pl.col("result_bytes")
    return found.select(
        pl.max_horizontal(
            pl.col("flops") / peak, (all_bytes - scores_bytes) / spec.bandwidth_bytes_per_s
        )
        * 1e9
    ).to_series()


def _title(view: View, chain: pl.DataFrame) -> str:
    time_ns = total(chain, "own_ns")
    is_softmax = pl.col("operator_name").cast(pl.String).str.contains(_SOFTMAX, literal=True)
    chains = chain.filter(is_softmax)["operator"].n_unique()
    return (
        f"Attention is not fused: {format_ns(time_ns)} ({format_share(time_ns, view.window_ns)}) in "
        f"{format_count(chains)} chains of product, softmax and product"
    )
