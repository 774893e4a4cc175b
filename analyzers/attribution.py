"""The class of every activity and the rule that decided it; each distinct kind of activity is decided once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from mmprof.analyzers.classes import Activity, classify
from mmprof.analyzers.lineage import Lineage, Path

# A scaled-dot-product attention written out: at most this many activities (scale, mask, cast, dropout) lie between
# the product of Q and K, the softmax and the product with V.
CHAIN_REACH: Final = 8
_PRODUCTS: Final = ("aten::bmm", "aten::baddbmm")
_SOFTMAXES: Final = (
    "aten::_softmax",
    "aten::_softmax_backward_data",
    "aten::_masked_softmax",
    "aten::softmax",
)


def attention_chain(operators: pl.Series, threads: pl.Series) -> pl.Series:
    """Whether each activity is part of an unfused attention: product, softmax, product close together on a thread.

    Args:
        operators: Name of the innermost operator of each activity, in launch order per thread.
        threads: Launching thread of each.
    """
    frame = pl.DataFrame({"operator": operators.cast(pl.String), "thread": threads}).with_row_index(
        "at"
    )
    at = pl.col("at").cast(pl.Int64)
    product = pl.when(pl.col("operator").is_in(_PRODUCTS)).then(at)
    near = frame.with_columns(
        before=product.forward_fill().over("thread"), after=product.backward_fill().over("thread")
    ).filter(
        pl.col("operator").is_in(_SOFTMAXES)
        & (at - pl.col("before") <= CHAIN_REACH)
        & (pl.col("after") - at <= CHAIN_REACH)
    )
    if near.is_empty():
        return pl.Series("chain", [False], dtype=pl.Boolean).new_from_index(0, len(frame))
    steps = (
        pl.concat(
            [
                near.select(at=pl.col("before"), step=pl.lit(1)),
                near.select(at=pl.col("after") + 1, step=pl.lit(-1)),
            ]
        )
        .group_by("at")
        .agg(pl.col("step").sum())
    )
    marked = frame.with_columns(pl.col("at").cast(pl.Int64)).join(
        steps, on="at", how="left", maintain_order="left"
    )
    return (marked["step"].fill_null(0).cum_sum() > 0).alias("chain")


def classified(activities: pl.DataFrame, lineage: Lineage, calls: pl.DataFrame) -> pl.DataFrame:
    """Add `class`, `rule`, `by` and `in_chain` to activities.

    Args:
        activities: By start, with `name`, `kind`, `operator_name`, `call`, `thread`, `launch_start_ns`.
        lineage: The paths around the launches of these activities.
        calls: Arguments of operators.
    """
    keyed = activities.with_columns(path=lineage.code, in_chain=_chain_in_launch_order(activities))
    keys = ["name", "kind", "path", "call", "in_chain"]
    distinct = keyed.select(keys).unique(maintain_order=True)
    arguments = (calls["dims"].to_list(), calls["kernel_backend"].to_list())
    verdicts = [_decide(row, lineage.paths, arguments) for row in distinct.iter_rows()]
    decided = distinct.with_columns(
        pl.Series("class", [v[0] for v in verdicts], dtype=pl.String),
        pl.Series("rule", [v[1] for v in verdicts], dtype=pl.String),
        pl.Series("by", [v[2] for v in verdicts], dtype=pl.String),
    )
    return keyed.join(decided, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _chain_in_launch_order(activities: pl.DataFrame) -> pl.Series:
    ordered = activities.select(
        "thread", "launch_start_ns", "start_ns", "operator_name"
    ).with_row_index("at")
    ordered = ordered.sort("thread", "launch_start_ns", "start_ns")
    chain = attention_chain(ordered["operator_name"], ordered["thread"])
    return ordered.select("at", in_chain=chain).sort("at")["in_chain"]


def _decide(
    row: tuple[str, str, int, int | None, bool],
    paths: Mapping[int, Path],
    arguments: tuple[list[str], list[str]],
) -> tuple[str, str, str]:
    name, kind, path, call, in_chain = row
    around = paths[path]
    dims, backend = (column[call] for column in arguments) if call else ("", "")
    verdict = classify(
        Activity(
            name=name,
            kind=kind,
            operators=around.operators,
            modules=around.modules,
            annotations=around.annotations,
            dims=dims,
            in_attention_chain=in_chain,
            kernel_backend=backend,
        )
    )
    return verdict.cls, verdict.rule, verdict.by
