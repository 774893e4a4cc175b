"""What casting weights once gains: the conversions of weights before their products vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mmprof.analyzers.findings.dtype_casts import floating_casts
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.units import format_count
from mmprof.analyzers.whatif.changes import Removed
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay


def cast_once(replay: Replay) -> Predicted:
    """Predict weights that are stored in the type that they are used in."""
    found = weight_casts(replay.view)
    if found.is_empty():
        return None, "no weight is converted before the product that uses it"
    again = found.filter(pl.int_range(pl.len()).over("shape") > 0)
    removed = Removed(found["row"])
    case = Case(low=[Removed(again["row"])], expected=[removed], high=[removed])
    said = [
        f"{format_count(found.height, 'conversion')} of matrices as large as the weight of the next product are gone, since these "
        "weights are used in no other type",
        "low: one conversion for each weight's shape stays",
    ]
    return predicted(replay, case, rows=found["row"], assumptions=said)


def weight_casts(view: View) -> pl.DataFrame:
    """Conversions of a matrix whose extents are those of the weight of the next product on its thread, with `shape`."""
    casts = floating_casts(view).filter(
        pl.col("rank") == 2, pl.col("launch_start_ns").is_not_null()
    )
    following = products(view).select("thread", "launch_start_ns", "n", "k")
    matched = casts.sort("launch_start_ns").join_asof(
        following.sort("launch_start_ns"),
        on="launch_start_ns",
        by="thread",
        strategy="forward",
        check_sortedness=False,
    )
    stored = pl.format("{}x{}", "n", "k"), pl.format("{}x{}", "k", "n")
    return matched.filter(pl.col("shape").is_in(pl.concat_list(stored)))
