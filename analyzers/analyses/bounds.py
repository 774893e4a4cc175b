"""What bounds the device: compute, memory, latency, the bus or the network, and how far FLOPs and bytes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers.costs import needs_arguments
from mmprof.analyzers.devices import measured_device
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.view import View

KNOWN: Final = "known"
NO_OPERATOR: Final = "no operator"
NO_ARGUMENTS: Final = "no arguments"
NO_MODEL: Final = "no model"
_SHAPE: Final = r"\[\d"
"""A dimension in the recorded shapes: lists of tensors and scalars have none."""


class BoundRow(Struct, frozen=True):
    """Busy time with one bound; time_ns of all bounds sums to busy_ns.

    Attributes:
        bound: compute, memory, latency, transfer (over the bus), communication or unknown.
        time_ns: Busy time.
        flops: Floating-point operations of the operators with this bound.
        bytes: Bytes they must move.
        roofline_ns: Least time that the device needs for them.
        count: Number of activities.
    """

    bound: str
    time_ns: int
    flops: int
    bytes: int
    roofline_ns: int
    count: int


class WorkRow(Struct, frozen=True):
    """Busy time whose FLOPs and bytes are known, or are not for one reason; time_ns of all rows sums to busy_ns.

    Attributes:
        work: known; no operator (a graph's kernels, launches outside operators); no arguments (the shapes or sizes that the
            work follows from are not in the trace); no model (shapes are, mmprof has no formula for the operator).
        time_ns: Busy time.
        count: Number of activities.
    """

    work: str
    time_ns: int
    count: int


class Roofline(Struct, frozen=True):
    """The device's limits and how much of busy time they could be applied to.

    Attributes:
        coverage: Share of busy time whose FLOPs and bytes are known.
        peak_flops: Dense peak in FLOP/s by data type.
        bandwidth_bytes_per_s: Memory bandwidth.
        source: Where peak and bandwidth come from: the device table's source, or when and how they were measured; empty
            if the device is not known.
        device: Name in the device table, or of the device that was measured.
        matched: How the device was recognised.
        flops: All floating-point operations in the window.
        bytes: All bytes that had to move.
        roofline_share: Least time for the modelled work of the device's own memory and arithmetic (no copies over the
            bus, no collectives) as a share of the busy time it took.
        measured_flops: FLOP/s by data type that the device reached where the trace was recorded; empty if not measured.
        measured_bandwidth_bytes_per_s: Bytes per second that its memory reached there; 0 if not measured.
        measured_source: When and how; empty if not measured.
    """

    coverage: float
    peak_flops: dict[str, int]
    bandwidth_bytes_per_s: int
    source: str
    device: str
    matched: str
    flops: int
    bytes: int
    roofline_share: float
    measured_flops: dict[str, int] = {}
    measured_bandwidth_bytes_per_s: int = 0
    measured_source: str = ""


class Bounds(Struct, frozen=True):
    """Busy time by bound.

    Attributes:
        bounds: By time.
        roofline: The limits behind it.
        work: How far FLOPs and bytes are known, and why not further.
    """

    bounds: list[BoundRow]
    roofline: Roofline
    work: list[WorkRow] = []


@analysis(
    "device",
    Table(
        "bounds", "Busy time by bound", "bound", ("time_ns", "flops", "bytes", "count"), by="bound"
    ),
    Table("work", "How far FLOPs and bytes are known", "work", ("time_ns", "count")),
)
def bounds(view: View) -> Bounds:
    """Compare the time of each operator with the least time that its FLOPs and bytes need."""
    costed = view.costs.with_columns(view.activities["own_ns"])
    rows = (
        costed.group_by("bound")
        .agg(
            time_ns=pl.col("own_ns").sum(),
            flops=pl.col("flops").sum(),
            bytes=pl.col("bytes").sum(),
            roofline_ns=pl.col("roofline_ns").sum(),
            count=pl.len().cast(pl.Int64),
        )
        .sort("time_ns", "bound", descending=[True, False])
    )
    return Bounds(
        [BoundRow(*row) for row in rows.iter_rows()], _roofline(view, costed), _work(view, costed)
    )


def _work(view: View, costed: pl.DataFrame) -> list[WorkRow]:
    """Busy time by whether its work is known, by time."""
    known = costed["model"].is_not_null()
    work = pl.select(pl.when(known).then(pl.lit(KNOWN)).otherwise(_why_not(view))).to_series()
    timed = costed.select("own_ns", work=work).group_by("work")
    rows = timed.agg(time_ns=pl.col("own_ns").sum(), count=pl.len().cast(pl.Int64))
    by_time = rows.sort("time_ns", "work", descending=[True, False])
    return [WorkRow(*row) for row in by_time.iter_rows()]


def _why_not(view: View) -> pl.Series:
    """For each activity the reason why its work would not be known: a copy, memset or collective has no size."""
    trace, operator = view.trace, view.activities["operator"]
    name, call = trace.host["name"][operator], trace.host["call"][operator]
    shaped = trace.calls["dims"].str.contains(_SHAPE)[call]
    modelled = name.is_in([n for n in name.unique().drop_nulls() if needs_arguments(n)])
    moves = (pl.col("class") == "communication") | pl.col("kind").is_in([c.MEMCPY, c.MEMSET])
    return view.activities.select(
        pl.when(~moves & pl.col("operator").is_null())
        .then(pl.lit(NO_OPERATOR))
        .when(moves | modelled | ~shaped)
        .then(pl.lit(NO_ARGUMENTS))
        .otherwise(pl.lit(NO_MODEL))
    ).to_series()


def _roofline(view: View, costed: pl.DataFrame) -> Roofline:
    known = costed.filter(pl.col("model").is_not_null())
    spec = view.match.spec if view.match else None
    reached = _measured(view)
    known_ns = int(known["own_ns"].sum())
    limited = known.filter(~pl.col("bound").is_in(["transfer", "communication"]))
    limited_ns = int(limited["own_ns"].sum())
    return Roofline(
        coverage=known_ns / view.busy_ns if view.busy_ns else 0.0,
        peak_flops=dict(spec.peak_flops) if spec else {},
        bandwidth_bytes_per_s=spec.bandwidth_bytes_per_s if spec else 0,
        source=spec.source if spec else "",
        device=spec.name if spec else "",
        matched=view.match.how if view.match else "",
        flops=int(costed["flops"].sum()),
        bytes=int(costed["bytes"].sum()),
        roofline_share=int(limited["roofline_ns"].sum()) / limited_ns
        if limited_ns and spec
        else 0.0,
        measured_flops=dict(reached.peak_flops) if reached else {},
        measured_bandwidth_bytes_per_s=reached.bandwidth_bytes_per_s if reached else 0,
        measured_source=reached.source if reached else "",
    )


def _measured(view: View) -> DeviceSpec | None:
    """The device as the tracer measured it, also where the table decides."""
    name = None if view.is_host else view.trace.device_properties(view.device).get("name", "")
    found = measured_device(view.trace.sidecar, name)
    return found.spec if found else None
