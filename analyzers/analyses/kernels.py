"""Which kernels, copies and memsets ran on the device, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


class KernelRow(Struct, frozen=True, rename={"class_": "class"}):
    """All linked activities of one name; own_ns of all rows sums to busy_ns.

    Attributes:
        name: Name of the kernel, copy or memset.
        class_: Class that most of its own time has.
        count: Number of activities.
        sum_ns: Plain sum of durations.
        min_ns: Shortest duration.
        max_ns: Longest duration.
        mean_ns: sum_ns / count, rounded.
        own_ns: Busy time that it owns, where activities overlap.
        share: own_ns / busy_ns.
        class_share: Part of own_ns that has this class; less than 1 where the name serves several purposes.
        rule: Rule that decided the class.
        by: Kind of evidence of that rule.
        occupancy_percent: Median of the estimated achieved occupancy; null where the trace has none.
    """

    name: str
    class_: str
    count: int
    sum_ns: int
    min_ns: int
    max_ns: int
    mean_ns: int
    own_ns: int
    share: float
    class_share: float
    rule: str
    by: str
    occupancy_percent: float | None


class Kernels(Struct, frozen=True):
    """Device activities by name.

    Attributes:
        kernels: By plain sum of durations.
    """

    kernels: list[KernelRow]


@analysis(
    "trace",
    Table(
        "kernels",
        "Kernels",
        "name",
        ("class", "count", "sum_ns", "mean_ns", "min_ns", "max_ns", "own_ns", "occupancy_percent"),
        by="kernel",
        share_of="busy_ns",
    ),
)
def kernels(view: View) -> Kernels:
    """Sum the linked activities by name; each name takes the class of most of its own time."""
    by_rule = _by_rule(view.activities)
    named = _by_name(by_rule).join(_main_rule(by_rule), on="name", maintain_order="left")
    rows = named.join(_occupancy(view.activities), on="name", how="left", maintain_order="left")
    return Kernels([KernelRow(*row) for row in _columns(rows, view.busy_ns).iter_rows()])


def _by_rule(activities: pl.DataFrame) -> pl.DataFrame:
    return activities.group_by("name", "class", "rule", "by").agg(
        count=pl.len().cast(pl.Int64),
        sum_ns=pl.col("dur_ns").sum(),
        min_ns=pl.col("dur_ns").min(),
        max_ns=pl.col("dur_ns").max(),
        own_ns=pl.col("own_ns").sum(),
    )


def _by_name(by_rule: pl.DataFrame) -> pl.DataFrame:
    sums = by_rule.group_by("name").agg(
        pl.col("count", "sum_ns", "own_ns").sum(), pl.col("min_ns").min(), pl.col("max_ns").max()
    )
    text = sums.with_columns(text=pl.col("name").cast(pl.String))
    return text.sort("sum_ns", "count", "text", descending=[True, True, False])


def _main_rule(by_rule: pl.DataFrame) -> pl.DataFrame:
    """The class, rule and evidence of most of each name's own time, and that time of the class."""
    classed = by_rule.with_columns(class_ns=pl.col("own_ns").sum().over("name", "class"))
    order = ["class_ns", "own_ns", "count", "class", "rule"]
    ordered = classed.sort(order, descending=[True, True, True, False, False])
    first = ordered.unique("name", keep="first", maintain_order=True)
    return first.select("name", "class", "rule", "by", "class_ns")


def _occupancy(activities: pl.DataFrame) -> pl.DataFrame:
    known = activities.filter(pl.col("occupancy_percent").is_not_null())
    return known.group_by("name").agg(pl.col("occupancy_percent").median())


def _columns(rows: pl.DataFrame, busy_ns: int) -> pl.DataFrame:
    own, count = pl.col("own_ns"), pl.col("count")
    return rows.select(
        "text",
        "class",
        "count",
        "sum_ns",
        "min_ns",
        "max_ns",
        ((pl.col("sum_ns") + count // 2) // count).alias("mean_ns"),
        "own_ns",
        (own / max(busy_ns, 1)).alias("share"),
        pl.when(own > 0).then(pl.col("class_ns") / own).otherwise(1.0).alias("class_share"),
        "rule",
        "by",
        "occupancy_percent",
    )
