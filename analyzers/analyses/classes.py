"""Which classes of kernels took the busy time, and how their class was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View


class ClassRow(Struct, frozen=True, rename={"class_": "class"}):
    """Time of one class; time_ns of all classes sums to busy_ns.

    Attributes:
        class_: Class of the activities.
        time_ns: Time given to the class where classes overlap.
        sum_ns: Plain sum of durations.
        count: Number of activities.
    """

    class_: str
    time_ns: int
    sum_ns: int
    count: int


class EvidenceRow(Struct, frozen=True):
    """Busy time by the kind of evidence that decided its class.

    Attributes:
        by: category, annotation, module, operator, metadata, kernel name or none.
        time_ns: Time decided so.
    """

    by: str
    time_ns: int


class Classes(Struct, frozen=True):
    """Busy time by class.

    Attributes:
        classes: By time.
        class_evidence: By the evidence that decided.
    """

    classes: list[ClassRow]
    class_evidence: list[EvidenceRow]


@analysis(
    "device",
    Table("classes", "Busy time by class", "class", ("time_ns", "sum_ns", "count"), by="class"),
)
def classes(view: View) -> Classes:
    """Sum the owned time of activities by class and by evidence."""
    return Classes(
        classes=[ClassRow(*row) for row in _grouped(view, "class").iter_rows()],
        class_evidence=[
            EvidenceRow(by, time) for by, time, _, _ in _grouped(view, "by").iter_rows()
        ],
    )


def _grouped(view: View, key: str) -> pl.DataFrame:
    sums = view.activities.group_by(key).agg(
        pl.col("own_ns").sum(), pl.col("dur_ns").sum(), count=pl.len().cast(pl.Int64)
    )
    return sums.sort("own_ns", "dur_ns", key, descending=[True, True, False])
