"""MM115: kernels that only convert from one type to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.costs import parse_call
from mmprof.analyzers.costs.call import UnderivableError
from mmprof.analyzers.findings.evidence import about_activities, share_words, steps, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

_FLOATING: Final = {"c10::Half": "fp16", "c10::BFloat16": "bf16", "float": "fp32", "double": "fp64"}
# A weight of a linear layer; activations of sequence models have a batch dimension more.
_WEIGHT_RANK: Final = 2


@finding("MM115", "type conversions", lever="dtype")
def dtype_casts(view: View) -> Match | None:
    """Kernels convert tensors between floating-point types, which reads and writes them and computes nothing.

    Weights that are converted again in every step (autocast over fp32 weights) are better stored in the type they are used
    in. Activations that go to fp32 and back around a normalization or a softmax cost nothing when the conversion is fused
    into that operation: use its fused form, or torch.compile.
    """
    casts = floating_casts(view)
    if not significant(view, total(casts, "own_ns")):
        return None
    weights = casts.filter(pl.col("rank") == _WEIGHT_RANK)
    mostly_weights = 2 * total(weights, "own_ns") >= total(casts, "own_ns")
    lever = "dtype" if mostly_weights else "torch_compile"
    return about_activities(view, casts, title=_title(view, casts), lever=lever)


def floating_casts(view: View) -> pl.DataFrame:
    """Copies between floating types, with `cast`, `rank` and `shape`."""
    copies = view.activities.filter(
        pl.col("operator_name") == "aten::copy_", pl.col("kind").is_in([c.KERNEL, c.OPERATOR])
    )
    used = view.trace.calls.filter(pl.col("call").is_in(copies["call"].unique().implode()))
    found = [_cast(*row) for row in used.select("dims", "types").iter_rows()]
    schema = {"cast": pl.String, "rank": pl.Int64, "shape": pl.String}
    described = pl.concat(
        [used.select("call"), pl.DataFrame(found, schema=schema, orient="row")], how="horizontal"
    )
    return copies.join(described.drop_nulls(), on="call", how="inner", maintain_order="left")


def _cast(dims: str, types: str) -> tuple[str | None, int | None, str | None]:
    """What a recorded aten::copy_(to, from) converts; nulls where it converts nothing."""
    call = parse_call("aten::copy_", dims, types)
    try:
        target, source = call.tensor(0), call.tensor(1)
    except UnderivableError:
        return None, None, None
    if target.dtype == source.dtype or not {target.dtype, source.dtype} <= set(_FLOATING):
        return None, None, None
    words = f"{_FLOATING[source.dtype]} to {_FLOATING[target.dtype]}"
    return words, target.rank, "x".join(str(extent) for extent in target.shape)


def _title(view: View, casts: pl.DataFrame) -> str:
    count = steps(view)
    most = casts.group_by("cast", "shape").agg(pl.col("own_ns").sum(), pl.len())
    kind, shape, _, times = most.sort("own_ns", "cast", "shape", descending=True).row(0)
    per_step = f" in {format_count(count)} steps" if count > 1 else ""
    return (
        f"{share_words(view, total(casts, 'own_ns'))} in {format_count(casts.height, 'conversion')} between floating-point "
        f"types; most: {kind} of {shape}, {format_count(times, 'time')}{per_step}"
    )
