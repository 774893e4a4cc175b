"""Which operators launched the device's work, in total and by the shapes of their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl
from msgspec import Struct

from mmprof.analyzers import nesting
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

NO_OPERATOR: Final = ""
_GROUP: Final = ("path", "call", "class", "bound")
_SUMS: Final = ("count", "kernels", "time_ns", "flops", "bytes")


class OperatorRow(Struct, frozen=True, rename={"class_": "class"}):
    """Device time of one operator; time_ns of all rows sums to busy_ns.

    Attributes:
        name: Name of the operator; "" for activities launched outside any operator, or without a known launch.
        class_: Class of most of its time_ns, or of total_time_ns where it launches nothing itself.
        count: Instances that launched activities themselves.
        kernels: Activities they launched.
        time_ns: Busy time owned by these activities.
        total_time_ns: Busy time owned by all activities launched inside it, nested operators included; an activity
            counts once however often the operator is nested in itself.
        host_calls: Recorded instances, on all threads of the process.
        host_self_ns: Host time of these instances outside nested operators.
        host_total_ns: Their host time, direct self-nesting counted once.
        flops: Floating-point operations of the instances, as far as they are modelled.
        bytes: Bytes that they must move, as far as they are modelled.
        bound: Bound of most of time_ns: compute, memory, latency, transfer, communication or unknown.
    """

    name: str
    class_: str
    count: int
    kernels: int
    time_ns: int
    total_time_ns: int
    host_calls: int
    host_self_ns: int
    host_total_ns: int
    flops: int
    bytes: int
    bound: str


class OperatorShapeRow(Struct, frozen=True, rename={"class_": "class"}):
    """Device time of one operator with arguments of one shape and type.

    Attributes:
        name: Name of the operator; "" for activities launched outside any operator.
        dims: Shapes of its arguments, JSON; "" where the trace has none.
        types: Types of its arguments, JSON; "" where the trace has none.
        class_: Class of most of time_ns.
        count: Instances that launched activities.
        kernels: Activities they launched.
        time_ns: Busy time owned by these activities.
        flops: Floating-point operations, as far as they are modelled.
        bytes: Bytes that must move, as far as they are modelled.
        bound: Bound of most of time_ns: compute, memory, latency, transfer, communication or unknown.
    """

    name: str
    dims: str
    types: str
    class_: str
    count: int
    kernels: int
    time_ns: int
    flops: int
    bytes: int
    bound: str


class HostOperatorRow(Struct, frozen=True):
    """Host time of one operator that has no activity in the window.

    Attributes:
        name: Name of the operator.
        host_calls: Recorded instances, on all threads of the process.
        host_self_ns: Their host time outside nested operators.
        host_total_ns: Their host time, direct self-nesting counted once.
    """

    name: str
    host_calls: int
    host_self_ns: int
    host_total_ns: int


class Operators(Struct, frozen=True):
    """Device time by operator.

    Attributes:
        ops: Operators around launches, by time_ns.
        op_shapes: The same by shapes and types of the arguments.
        host_ops: Operators around no launch, by host_self_ns.
        operator_coverage: Share of busy time with a known operator.
    """

    ops: list[OperatorRow]
    op_shapes: list[OperatorShapeRow]
    host_ops: list[HostOperatorRow]
    operator_coverage: float


@analysis(
    "trace",
    Table(
        "ops",
        "Operators",
        "name",
        ("class", "count", "kernels", "time_ns", "total_time_ns", "host_self_ns", "bound"),
        by="op",
        share_of="busy_ns",
    ),
    Table(
        "op_shapes",
        "Operators by shape",
        "name",
        ("dims", "types", "class", "count", "kernels", "time_ns", "bound"),
        by="shape",
        share_of="busy_ns",
    ),
    Table(
        "host_ops",
        "Operators without device work",
        "name",
        ("host_calls", "host_self_ns", "host_total_ns"),
        by="host-op",
    ),
)
def operators(view: View) -> Operators:
    """Sum owned time by operator around the launch, and host time by operator."""
    parts = _parts(view)
    host = _host_times(view)
    ops = _by_operator(parts, _enclosing(view)).join(host, on="name", how="left")
    host_only = host.join(ops, on="name", how="anti")
    known_ns = int(parts.filter(pl.col("name") != NO_OPERATOR)["time_ns"].sum())
    return Operators(
        ops=[OperatorRow(*row) for row in _op_columns(ops).iter_rows()],
        op_shapes=[
            OperatorShapeRow(*row) for row in _by_shape(parts, view.trace.calls).iter_rows()
        ],
        host_ops=[HostOperatorRow(*row) for row in _host_columns(host_only).iter_rows()],
        operator_coverage=known_ns / view.busy_ns if view.busy_ns else 0.0,
    )


def _parts(view: View) -> pl.DataFrame:
    """Sums per path, call, class and bound: few rows, from which every grouping follows."""
    first = {code: (*path.operators, NO_OPERATOR)[0] for code, path in view.lineage.paths.items()}
    counted = _with_costs(view).with_columns(
        instance=pl.col("operator").is_not_null() & pl.col("operator").is_first_distinct()
    )
    sums = counted.group_by(_GROUP).agg(
        count=pl.col("instance").sum().cast(pl.Int64),
        kernels=pl.len().cast(pl.Int64),
        time_ns=pl.col("own_ns").sum(),
        flops=pl.col("flops").sum(),
        bytes=pl.col("model_bytes").sum(),
    )
    return sums.with_columns(name=pl.col("path").replace_strict(first, return_dtype=pl.String))


def _with_costs(view: View) -> pl.DataFrame:
    """The activities with the cost of their operators; `model_bytes` and `flops` are on an operator's first activity."""
    path = pl.col("path").cast(pl.Int64)
    columns = view.activities.select("row", path, "call", "class", "own_ns", "operator")
    modelled = view.costs.select("row", "flops", pl.col("bytes").alias("model_bytes"), "bound")
    return columns.join(modelled, on="row", how="left", maintain_order="left")


def _enclosing(view: View) -> pl.DataFrame:
    """Each path with every operator on it, once."""
    pairs = [
        (code, name)
        for code, path in view.lineage.paths.items()
        for name in dict.fromkeys(path.operators or (NO_OPERATOR,))
    ]
    return pl.DataFrame(pairs, schema={"path": pl.Int64, "name": pl.String}, orient="row")


def _by_operator(parts: pl.DataFrame, enclosing: pl.DataFrame) -> pl.DataFrame:
    inside = enclosing.join(parts.rename({"name": "launcher"}), on="path").with_columns(
        total_time_ns=pl.col("time_ns")
    )
    direct = pl.col("launcher") == pl.col("name")
    own = inside.with_columns(pl.when(direct).then(pl.col(_SUMS)).otherwise(0))
    sums = own.group_by("name").agg(pl.col(*_SUMS, "total_time_ns").sum())
    for value in ("class", "bound"):
        sums = sums.join(_main(own, ["name"], value), on="name")
    return sums


def _main(parts: pl.DataFrame, keys: list[str], value: str) -> pl.DataFrame:
    """For each key the value with most of the time."""
    times = [n for n in ("time_ns", "total_time_ns", "kernels") if n in parts.columns]
    sums = parts.group_by(*keys, value).agg(pl.col(times).sum())
    ordered = sums.sort(*times, value, descending=[True] * len(times) + [False])
    return ordered.unique(keys, keep="first", maintain_order=True).select(*keys, value)


def _by_shape(parts: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    keys = ["name", "dims", "types"]
    shaped = parts.join(_shapes(parts, calls), on="call", how="left", nulls_equal=True)
    shaped = shaped.with_columns(pl.col("dims", "types").fill_null(""))
    sums = shaped.group_by(keys).agg(pl.col(_SUMS).sum())
    for value in ("class", "bound"):
        sums = sums.join(_main(shaped, keys, value), on=keys)
    ordered = sums.sort("time_ns", "kernels", *keys, descending=[True, True, False, False, False])
    return ordered.select(*keys, "class", "count", "kernels", "time_ns", "flops", "bytes", "bound")


def _shapes(parts: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """The calls in use with their shapes and types on one line."""
    used = calls.select("call", "dims", "types").join(
        parts.select("call").unique(), on="call", how="semi"
    )
    return used.with_columns(
        pl.Series(name, [_compact(text) for text in used[name]], dtype=pl.String)
        for name in ("dims", "types")
    )


def _compact(text: str) -> str:
    return msgspec.json.format(text, indent=-1) if text else ""


def _host_times(view: View) -> pl.DataFrame:
    """Instances and host time per operator name, on all threads."""
    host = view.trace.host
    counted = host["kind"] == c.OPERATOR
    if view.spans is not None:
        counted &= _in_spans(host["start_ns"], view.spans)
    timing = host.select("name", spent_ns=pl.col("end_ns") - pl.col("start_ns"))
    called = timing.filter(counted)
    enclosing = (
        view.host.above_operator if view.spans is None else nesting.above(host["parent"], counted)
    )
    around = host["name"][enclosing.filter(counted)]
    timed = called.select("name", "spent_ns", around=around)
    outer = pl.col("name").ne_missing(pl.col("around"))
    per_name = timed.group_by("name").agg(
        host_calls=pl.len().cast(pl.Int64),
        host_total_ns=pl.col("spent_ns").filter(outer).sum(),
        spent_ns=pl.col("spent_ns").sum(),
    )
    nested = timed.group_by(name="around").agg(nested_ns=pl.col("spent_ns").sum())
    return per_name.join(nested, on="name", how="left").select(
        pl.col("name").cast(pl.String),
        "host_calls",
        "host_total_ns",
        host_self_ns=pl.col("spent_ns") - pl.col("nested_ns").fill_null(0),
    )


def _in_spans(starts: pl.Series, spans: pl.DataFrame) -> pl.Series:
    """Whether each start lies in one of the disjoint spans."""
    if spans.is_empty():
        return starts.is_null()
    ordered = spans.sort("start_ns")
    at = ordered["start_ns"].search_sorted(starts, side="right").cast(pl.Int64) - 1
    return (at >= 0) & (starts < ordered["end_ns"][at.clip(0)])


def _op_columns(ops: pl.DataFrame) -> pl.DataFrame:
    host = ("host_calls", "host_self_ns", "host_total_ns")
    ordered = ops.sort("time_ns", "total_time_ns", "name", descending=[True, True, False])
    return ordered.with_columns(pl.col(host).fill_null(0)).select(
        "name",
        "class",
        "count",
        "kernels",
        "time_ns",
        "total_time_ns",
        *host,
        "flops",
        "bytes",
        "bound",
    )


def _host_columns(host: pl.DataFrame) -> pl.DataFrame:
    ordered = host.sort("host_self_ns", "name", descending=[True, False])
    return ordered.select("name", "host_calls", "host_self_ns", "host_total_ns")
