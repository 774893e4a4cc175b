"""Collectives of this rank: how long, how much of it computation does not hide, and at which bandwidth.

Computation is every kernel that is no communication, copy or fill; copies and fills neither hide communication nor count
as it. HolisticTraceAnalysis's overlap is communication_overlap_ns / communication_ns.

One rank's trace has no view of the others: a kernel also lasts while it waits for them, so bandwidths are lower bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers import intervals
from mmprof.analyzers.costs.dtypes import element_bytes
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.lineage import Path
    from mmprof.analyzers.view import View

COMMUNICATION: Final = "communication"

_NO_COMPUTATION: Final = (COMMUNICATION, "memcpy", "memset")
# Lower case without "_": the names that torch ("allreduce", "_allgather_base"), NCCL ("AllReduce") and operators use.
_CUSTOM: Final = (
    r"crossdevicereduce|oneshot|twoshot|multimem|quickreduce|lamport|customallreduce|customar"
)
_COLLECTIVES: Final = {
    "all_reduce": r"allreduce",
    "reduce_scatter": r"reducescatter",
    "all_gather": r"allgather",
    "all_to_all": r"alltoall|all2all",
    "broadcast": r"broadcast",
    "send_recv": r"send|recv",
    "barrier": r"barrier",
    "gather": r"gather",
    "scatter": r"scatter",
    "reduce": r"reduce",
}
# Bytes that a rank's links carry per byte of the collective, as a function of the ranks n, from doc/PERFORMANCE.md and
# src/alltoall.cu of nccl-tests: (factor of (n - 1) / n), or 0 for a factor of 1 at any n.
_BUS_FACTOR: Final = {
    "all_reduce": 2,
    "custom_all_reduce": 2,
    "reduce_scatter": 1,
    "all_gather": 1,
    "all_to_all": 1,
    "broadcast": 0,
    "reduce": 0,
    "send_recv": 0,
}
_ARGUMENTS: Final = {
    "element_type": pl.String,
    "in_elements": pl.Int64,
    "out_elements": pl.Int64,
    "group_size": pl.Int64,
}


class CollectiveRow(Struct, frozen=True):
    """All kernels of one collective with one element type and group size.

    Attributes:
        collective: all_reduce, custom_all_reduce (not by NCCL or RCCL), all_gather, reduce_scatter, all_to_all, broadcast,
            send_recv, reduce, gather, scatter, barrier or unknown.
        element_type: Data type as the trace writes it; empty where it does not say.
        group_size: Ranks that take part; 0 where the trace does not say.
        count: Number of kernels.
        bytes: Size of the collectives as nccl-tests counts it: the larger of what a rank has before and after; 0 where
            the trace does not say.
        time_ns: Plain sum of durations, waiting for other ranks included.
        exposed_ns: The part of time_ns while no computation ran.
        algbw_gb_s: Algorithm bandwidth, bytes / time_ns; null without bytes.
        busbw_gb_s: Bus bandwidth: algbw_gb_s x 2 (n - 1) / n for an all-reduce of n ranks, x (n - 1) / n for
            reduce-scatter, all-gather and all-to-all, x 1 for broadcast, reduce and send/receive; null for the rest.
    """

    collective: str
    element_type: str
    group_size: int
    count: int
    bytes: int
    time_ns: int
    exposed_ns: int
    algbw_gb_s: float | None
    busbw_gb_s: float | None


class Communication(Struct, frozen=True):
    """Communication of a device; communication_ns is the sum of the other two.

    Attributes:
        communication_ns: Time with at least one communication kernel.
        exposed_communication_ns: The part of it without computation.
        communication_overlap_ns: The part of it with computation.
        collectives: By time.
    """

    communication_ns: int = 0
    exposed_communication_ns: int = 0
    communication_overlap_ns: int = 0
    collectives: list[CollectiveRow] = []


@analysis(
    "device",
    Table(
        "collectives",
        "Communication",
        "collective",
        (
            "element_type",
            "group_size",
            "count",
            "bytes",
            "time_ns",
            "exposed_ns",
            "algbw_gb_s",
            "busbw_gb_s",
        ),
        by="collective",
    ),
)
def communication(view: View) -> Communication:
    """Compare the unions of communication and computation, and sum the kernels by collective."""
    kernels = view.activities.filter(pl.col("class") == COMMUNICATION)
    if kernels.is_empty():
        return Communication()
    computation = intervals.merge(view.activities.filter(~pl.col("class").is_in(_NO_COMPUTATION)))
    communicating = intervals.merge(kernels)
    total, hidden = (
        intervals.length(communicating),
        intervals.overlap_length(communicating, computation),
    )
    rows = _with_bandwidth(_summed(_named(kernels, view), computation))
    return Communication(
        total, total - hidden, hidden, [CollectiveRow(*row) for row in rows.iter_rows()]
    )


def _named(kernels: pl.DataFrame, view: View) -> pl.DataFrame:
    """Kernels with the name of their collective; the kernels of a host view have no arguments."""
    missing = [pl.lit(None, t).alias(n) for n, t in _ARGUMENTS.items() if n not in kernels.columns]
    told = kernels.with_columns(pl.col("name").cast(pl.String), *missing)
    keys = ["collective", "name", "path"]
    distinct = told.select(keys).unique(maintain_order=True)
    names = [
        _collective(said or "", name, view.lineage.paths[path])
        for said, name, path in distinct.iter_rows()
    ]
    decided = distinct.with_columns(pl.Series("of", names, dtype=pl.String))
    return told.join(decided, on=keys, nulls_equal=True, maintain_order="left")


def _collective(said: str, kernel: str, path: Path) -> str:
    """From the kernel's arguments, else from the call of torch.distributed around its launch, else from its name."""
    calls = [n for n in path.annotations if n.startswith(("nccl:", "gloo:"))]
    calls += [n for n in path.operators if "c10d" in n]
    name = said or next(iter(calls), kernel)
    return collective_of(name)


def collective_of(name: str) -> str:
    """The collective that a name of torch.distributed or of a kernel stands for; `unknown` for none."""
    text = name.lower().replace("_", "")
    base = "custom_all_reduce" if _matches(_CUSTOM, text) else ""
    found = next((known for known, form in _COLLECTIVES.items() if _matches(form, text)), "unknown")
    return base if base and found in ("all_reduce", "reduce", "unknown") else found


def _matches(form: str, text: str) -> bool:
    return any(part in text for part in form.split("|"))


def _summed(kernels: pl.DataFrame, computation: pl.DataFrame) -> pl.DataFrame:
    hidden = intervals.covered_before(computation, kernels["end_ns"]) - intervals.covered_before(
        computation, kernels["start_ns"]
    )
    sizes = {t: element_bytes(t) for t in kernels["element_type"].drop_nulls().unique()}
    size = pl.col("element_type").replace_strict(sizes, default=None, return_dtype=pl.Int64)
    elements = pl.max_horizontal("in_elements", "out_elements")
    keys = [pl.col("of"), pl.col("element_type").fill_null(""), pl.col("group_size").fill_null(0)]
    return (
        kernels.with_columns(hidden=hidden)
        .group_by(keys)
        .agg(
            count=pl.len().cast(pl.Int64),
            bytes=(elements * size).sum(),
            time_ns=pl.col("dur_ns").sum(),
            exposed_ns=(pl.col("dur_ns") - pl.col("hidden")).sum(),
        )
    )


def _with_bandwidth(sums: pl.DataFrame) -> pl.DataFrame:
    known = (pl.col("bytes") > 0) & (pl.col("time_ns") > 0)
    algorithm = pl.when(known).then(pl.col("bytes") / pl.col("time_ns"))
    weight = pl.col("of").replace_strict(_BUS_FACTOR, default=None, return_dtype=pl.Int64)
    ranks = pl.col("group_size")
    factor = pl.when(weight == 0).then(1.0).when(ranks > 0).then(weight * (ranks - 1) / ranks)
    rows = sums.with_columns(algbw_gb_s=algorithm).with_columns(
        busbw_gb_s=pl.col("algbw_gb_s") * factor
    )
    ordered = rows.sort(
        "time_ns", "of", "element_type", "group_size", descending=[True, False, False, False]
    )
    return ordered.select(
        "of",
        "element_type",
        "group_size",
        "count",
        "bytes",
        "time_ns",
        "exposed_ns",
        "algbw_gb_s",
        "busbw_gb_s",
    )
