"""What joining projections gains: linear layers of one parent that read the same activations become one product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.units import format_count
from mmprof.analyzers.whatif.changes import Change, Removed, Replaced
from mmprof.analyzers.whatif.modules import module_calls, with_module
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

_PLAIN: Final = r"(?:^|\()Linear(?:_\d+)?\)?$"
_NO_GROUPS: Final = "no two linear layers of a module stand side by side with as many rows and inputs, or no modules were recorded"


def joined_projections(replay: Replay) -> Predicted:
    """Predict one product for neighbouring linear layers: the activations are read once, and one product is launched."""
    groups = sibling_products(replay.view)
    if groups.is_empty():
        return None, _NO_GROUPS
    rows = _rows_of(replay, groups)
    kept = rows.filter(pl.int_range(pl.len()).over("group") == 0)
    others = Removed(rows.join(kept.select("row"), on="row", how="anti")["row"])
    case = Case(
        low=[],
        expected=[_joint(kept, "together_ns"), others],
        high=[_joint(kept, "longest_ns"), others],
    )
    count = groups["group"].n_unique()
    said = [
        f"{format_count(groups.height, 'linear layer call')} become {format_count(count, 'product')}, as long as theirs together "
        "without reading the activations again (high: as the longest of them, where none fills the device)",
        "layers that stand side by side in a module, with as many rows and inputs, read the same activations; low: they do not",
    ]
    return predicted(replay, case, rows=rows["row"], assumptions=said)


def sibling_products(view: View) -> pl.DataFrame:
    """Calls of plain linear layers of one module call that follow each other without another product between them.

    Returns:
        op_row, bound, first_bytes, `group`; two at least of each group.
    """
    calls = module_calls(view)
    own = with_module(view, products(view), "op_row").join(
        calls.select(layer="name", module="row", parent="outer"), on="module", how="left", maintain_order="left"
    )  # fmt: skip
    key = ("thread", "parent", "m", "k", "dtype")
    same = pl.all_horizontal(pl.col(c).eq_missing(pl.col(c).shift(1)) for c in key)
    plain = (
        pl.col("layer").str.contains(_PLAIN)
        & (pl.col("batch") == 1)
        & pl.col("parent").is_not_null()
    ).fill_null(value=False)
    # a layer that is called again reads something else
    again = pl.col("layer") == pl.col("layer").shift(1)
    begins = ~(same & plain & plain.shift(1, fill_value=False) & ~again.fill_null(value=False))
    grouped = own.with_columns(group=begins.cum_sum(), plain=plain).filter("plain")
    found = grouped.filter(pl.len().over("group") > 1)
    return found.select("op_row", "bound", "first_bytes", "group")


def _rows_of(replay: Replay, groups: pl.DataFrame) -> pl.DataFrame:
    """The activities of the products by start, with `group`, and what a joint product takes: `together_ns`, `longest_ns`."""
    durations = replay.base.activities.select("row", "dur_ns")
    acts = with_costs(replay.view).select("row", "op_row", "start_ns").join(durations, on="row")
    rows = acts.join(groups, on="op_row").sort("start_ns", "row")
    match = replay.view.match
    byte_ns = 1e9 / match.spec.bandwidth_bytes_per_s if match else 0.0
    calls = rows.group_by("group", "op_row").agg(
        pl.col("dur_ns").sum(), pl.col("first_bytes", "bound").first()
    )
    again_ns = (pl.col("first_bytes").sum() - pl.col("first_bytes").max()) * byte_ns
    longest = pl.col("dur_ns").max()
    together = pl.max_horizontal(pl.col("dur_ns").sum() - again_ns, longest)
    idle = (pl.col("bound") == "latency").all() & pl.lit(value=not replay.view.is_host)
    times = calls.group_by("group").agg(
        together_ns=together.round(), longest_ns=pl.when(idle).then(longest).otherwise(together.round())
    )  # fmt: skip
    return rows.join(times, on="group", maintain_order="left")


def _joint(kept: pl.DataFrame, time: str) -> Change:
    """The first activity of each group stands for the joint product."""
    return Replaced(kept.select("row", left_ns=time))
