"""MM103: attention written as product, softmax, product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, share_words, total
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import SHORT_NS, significant
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.view import View

# FlashAttention-2 reaches 50 to 73 % of an A100's peak (arXiv 2307.08691), FlashAttention-3 up to 75 % of an H100's
# (arXiv 2407.08608): half of the roofline is what can be expected, all of it is the bound.
FUSED_EFFICIENCY: Final = 0.5
_OPERATOR: Final = pl.col("operator_name").cast(pl.String)
_IS_PRODUCT: Final = _OPERATOR.is_in(["aten::bmm", "aten::baddbmm"])
_IS_SOFTMAX: Final = _OPERATOR.str.contains("softmax", literal=True)


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
    fused_ns = _fused_ns(view, chain)
    if fused_ns is None:
        # The products are taken to stay as they are.
        between_ns = total(chain.filter(~_IS_PRODUCT), "own_ns")
        return about_activities(view, chain, title=_title(view, chain), removable_ns=between_ns)
    removable_ns = max(0, chain_ns - fused_ns)
    expected_ns = max(0.0, chain_ns - fused_ns / FUSED_EFFICIENCY)
    return about_activities(
        view,
        chain,
        title=f"{_title(view, chain)}; fused kernels need {format_ns(fused_ns)} at least",
        removable_ns=removable_ns,
        expected_share=expected_ns / max(removable_ns, 1),
    )


def _fused_ns(view: View, chain: pl.DataFrame) -> int | None:
    """The least that fused kernels need: their roofline, and for each what a kernel takes at least; None if unknown."""
    found = _with_softmax_before(view, chain)
    if view.match is None or found.height < chain.filter(_IS_PRODUCT)["operator"].n_unique():
        return None
    shortest_ns = min(SHORT_NS, int(str(chain["dur_ns"].min())))
    return max(int(_rooflines_ns(found, view.match.spec).sum()), _count(chain) * shortest_ns)


def _count(chain: pl.DataFrame) -> int:
    return chain.filter(_IS_SOFTMAX)["operator"].n_unique()


def _with_softmax_before(view: View, chain: pl.DataFrame) -> pl.DataFrame:
    """The chain's products with `after_softmax`: whether they read the score matrix or write it."""
    found = products(view).filter("in_chain").with_columns(at_ns="launch_start_ns")
    softmaxes = chain.filter(_IS_SOFTMAX).select(
        "thread", at_ns="launch_start_ns", softmax_ns="launch_start_ns"
    )
    last = found.sort("at_ns").join_asof(
        softmaxes.sort("at_ns"), on="at_ns", by="thread", check_sortedness=False
    )
    previous_ns = pl.col("at_ns").shift(1).over("thread", order_by="at_ns")
    since_previous = (pl.col("softmax_ns") > previous_ns).fill_null(value=False)
    return last.with_columns(after_softmax=since_previous)


def _rooflines_ns(found: pl.DataFrame, spec: DeviceSpec) -> pl.Series:
    """Roofline of each product when Q, K, V and the result cross memory once, and the scores never."""
    fastest = max(spec.peak_flops.values())
    peaks = {d: float(spec.peak(d) or fastest) for d in found["dtype"].unique().to_list()}
    peak = pl.col("dtype").replace_strict(peaks, return_dtype=pl.Float64)
    scores = pl.when("after_softmax").then("first_bytes").otherwise("result_bytes")
    moved = pl.sum_horizontal("first_bytes", "second_bytes", "result_bytes") - scores
    seconds = pl.max_horizontal(pl.col("flops") / peak, moved / spec.bandwidth_bytes_per_s)
    return found.select(seconds * 1e9).to_series()


def _title(view: View, chain: pl.DataFrame) -> str:
    return (
        f"Attention is not fused: {share_words(view, total(chain, 'own_ns'))} in {format_count(_count(chain), 'chain')} of "
        "product, softmax and product"
    )
