"""What attention without a softmax gains from blocks: nothing padded, scores that stay in cache, less of the masked half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.findings.thresholds import SHORT_NS
from mmprof.analyzers.units import format_count, format_share
from mmprof.analyzers.whatif.changes import HOST_WORK, Change, Removed, Shortened
from mmprof.analyzers.whatif.modules import module_calls, with_module
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

# Scores that `tracer/models/hstu_blocks.py` computes at once: about the second-level cache of a core, and what that of a GPU holds.
_HOST_BLOCK_BYTES: Final = 1 << 20
_DEVICE_BLOCK_BYTES: Final = 1 << 25
_LEAST_ROWS: Final = 32
_PADDING: Final = ("aten::index_copy_", "aten::index_put_", "aten::zero_")
_INTEGERS: Final = ("int", "int64_t", "long", "long int")


def blocked_attention(replay: Replay) -> Predicted:
    """Predict pointwise attention in blocks of queries."""
    acts = pointwise_attention(replay.view)
    if acts.is_empty():
        return None, "no attention is written out as product, activation and product"
    again = Removed(acts.filter("again")["row"], host=HOST_WORK)
    spared = Removed(acts.filter("spared")["row"], host=HOST_WORK)
    left = acts.filter(~pl.col("again") & ~pl.col("spared"))
    shares = left.with_columns(left=_computed_share(is_host=replay.view.is_host))
    case = Case(
        low=[again],
        expected=[again, spared, _shortened(shares, pl.col("dur_ns") * pl.col("left"))],
        high=[again, spared, *_one_operator(shares)],
    )
    computed = format_share(float(str(shares["left"].mean())))
    said = [
        f"{format_count(acts['module'].n_unique(), 'chain')} of product, activation and product compute {computed} of the pairs of "
        "tokens, since blocks need not look at later ones",
        "what is computed of integers (buckets of times) is the same in every layer and computed once; low: that is all",
        "nothing is padded, and no pass over the scores follows the activation; high: each chain takes the roofline of its products",
    ]
    return predicted(replay, case, rows=acts["row"], assumptions=said)


def pointwise_attention(view: View) -> pl.DataFrame:
    """The activities of module calls that hold an attention product, an activation and another such product.

    Returns:
        `row`, `dur_ns`, `roofline_ns`, `is_product`; `module`, the host row of the call; `row_bytes` and `queries`, of its matrix of
        scores; `again`, whether it works on integers as a call before did; `spared`, whether blocks do without it.
    """
    pairs = _pairs(view)
    inside = _inside(view, pairs).sort("launch_start_ns", "row")
    between = pl.col("launch_start_ns").is_between("first_ns", "second_ns", closed="none")
    activated = pl.col("launch_start_ns").filter(between & (pl.col("class") == "activation"))
    timed = inside.with_columns(
        activated_ns=activated.first().over("module"),
        integers=(pl.col("dtype").is_in(_INTEGERS) & between).fill_null(value=False),
    ).filter(pl.col("activated_ns").is_not_null())
    integers_ns = pl.col("launch_start_ns").filter("integers")
    of_integers = pl.col("launch_start_ns").is_between(
        integers_ns.min().over("module"), integers_ns.max().over("module")
    )
    later = pl.col("launch_start_ns").is_between("activated_ns", "second_ns", closed="none")
    padded = pl.col("operator_name").cast(pl.String).is_in(_PADDING)
    first = pl.col("module").first()
    return timed.select(
        "row", "dur_ns", "roofline_ns", "module", "row_bytes", "queries",
        is_product=pl.any_horizontal(pl.col("launch_start_ns") == pl.col("first_ns", "second_ns")),
        again=of_integers.fill_null(value=False) & (pl.col("module") != first),
        spared=later | padded,
    )  # fmt: skip


def _pairs(view: View) -> pl.DataFrame:
    """Module calls with exactly two attention products and no softmax between: when they begin, and the scores' extents."""
    found = products(view).filter((pl.col("class") == "attention") & ~pl.col("in_chain"))
    placed = with_module(view, found, "op_row").filter(pl.col("module").is_not_null())
    pairs = placed.group_by("module").agg(
        pl.len().alias("count"),
        first_ns=pl.col("launch_start_ns").first(),
        second_ns=pl.col("launch_start_ns").last(),
        row_bytes=pl.col("result_bytes").first() // pl.col("m").first().clip(1),
        queries=pl.col("m").first(),
    )
    calls = module_calls(view).select("thread", "end_ns", module="row", begin_ns="start_ns")
    return pairs.filter(pl.col("count") == 2).join(calls, on="module").sort("begin_ns")


def _inside(view: View, pairs: pl.DataFrame) -> pl.DataFrame:
    """The activities that those calls launched."""
    launched = with_costs(view).filter(pl.col("launch_start_ns").is_not_null()).drop("end_ns")
    joined = launched.sort("launch_start_ns").join_asof(
        pairs, left_on="launch_start_ns", right_on="begin_ns", by="thread", check_sortedness=False
    )
    return joined.filter(pl.col("launch_start_ns") < pl.col("end_ns"))


def _computed_share(*, is_host: bool) -> pl.Expr:
    """The share of the pairs of tokens that blocks of queries look at: of b blocks, (1 + 1/b) / 2."""
    block = _HOST_BLOCK_BYTES if is_host else _DEVICE_BLOCK_BYTES
    rows = (block // pl.col("row_bytes").clip(1)).clip(_LEAST_ROWS)
    blocks = (pl.col("queries") / rows).ceil().clip(1)
    return (1 + 1 / blocks) / 2


def _one_operator(left: pl.DataFrame) -> list[Change]:
    """The products take their roofline, nothing else is left."""
    is_product = left["is_product"]
    others = Removed(left.filter(~is_product)["row"], host=HOST_WORK)
    least = pl.max_horizontal(pl.col("roofline_ns") * pl.col("left"), pl.lit(SHORT_NS))
    return [_shortened(left.filter(is_product), least), others]


def _shortened(activities: pl.DataFrame, left_ns: pl.Expr) -> Shortened:
    return Shortened(activities.select("row", left_ns=left_ns.round()))
