"""FLOPs and bytes of every activity's operator, and what bounds it on this device.

With F operations, B bytes, a peak P of the data type and a bandwidth W, an operator needs at least
max(F / P, B / W): its roofline. It is bound by the larger of the two; one that reaches less than a tenth of its roofline
is bound by latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.costs import (
    VIEW_MODEL,
    Cost,
    cost_of,
    element_bytes,
    element_dtype_of_kernel,
    parse_call,
)
from mmprof.analyzers.load import categories as c

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.hostwork import HostWork
    from mmprof.analyzers.trace import Trace

BOUNDS: Final = ("compute", "memory", "latency", "transfer", "communication", "unknown")
LATENCY_FACTOR: Final = 10
_CLIMB_LIMIT: Final = 4
_MAX: Final = 2**62
_KEY: Final = ("name", "call", "element")
_COST: Final = {"flops": pl.Int64, "bytes": pl.Int64, "dtype": pl.String, "model": pl.String}


def costs(activities: pl.DataFrame, host: HostWork, spec: DeviceSpec | None) -> pl.DataFrame:
    """The cost of each activity.

    Args:
        activities: With `row`, `kind`, `name`, `class`, `operator`, `bytes`, `own_ns` and collective columns.
        host: The host work of their trace.
        spec: Peaks of the device, None if it is not known.

    Returns:
        One row an activity in the same order: `row`, `op_row` (the operator that the cost is of, null if none), `model`
        (null: no model), `flops`, `bytes` (an operator's are on its first activity, so that sums count them once),
        `dtype`, `roofline_ns` (likewise) and `bound`.
    """
    modelled = _with_cost(activities, host)
    timed = modelled.with_columns(
        group_ns=pl.col("own_ns").sum().over("op_row"),
        first=pl.col("op_row").is_first_distinct() | pl.col("op_row").is_null(),
    )
    limits = _limits(timed, spec)
    bound = _bound(limits)
    once = pl.when("first")
    return limits.select(
        "row",
        "op_row",
        "model",
        "dtype",
        flops=once.then("flops").otherwise(0).fill_null(0),
        bytes=once.then("bytes").otherwise(0).fill_null(0),
        roofline_ns=once.then(pl.max_horizontal("compute_ns", "memory_ns"))
        .otherwise(0)
        .fill_null(0)
        .cast(pl.Int64),
        bound=bound,
    )


def _with_cost(activities: pl.DataFrame, host: HostWork) -> pl.DataFrame:
    """Add `op_row` and the cost columns: of the copy or collective itself, else of the operator."""
    plain = activities.select(
        "row", "kind", "class", "name", "operator", "own_ns", moved=_moved_bytes(activities)
    )
    is_moved = pl.col("kind").is_in([c.MEMCPY, c.MEMSET]) | (pl.col("class") == "communication")
    operator = plain.select(pl.when(~is_moved).then("operator")).to_series()
    op_row, cost = _operator_costs(host, operator, activities["name"])
    # CUTLASS names the tensor-core instruction: 16x8x8 (`s1688`) on float operands is TF32
    tf32 = pl.col("name").cast(pl.String).str.contains("tf32|s1688") & (pl.col("dtype") == "float")
    return pl.concat([plain.with_columns(op_row=op_row), cost], how="horizontal").with_columns(
        bytes=pl.when(is_moved).then("moved").otherwise("bytes"),
        flops=pl.when(is_moved & pl.col("moved").is_not_null()).then(0).otherwise("flops"),
        model=pl.when(is_moved & pl.col("moved").is_not_null())
        .then(pl.lit("transfer"))
        .otherwise("model"),
        dtype=pl.when(tf32).then(pl.lit("tf32")).otherwise("dtype"),
    )


def _moved_bytes(activities: pl.DataFrame) -> pl.Series:
    """Bytes that a copy, memset or collective moves; a copy inside the device reads and writes."""
    if "element_type" in activities.columns:
        sizes = {
            t: element_bytes(t) or 0 for t in activities["element_type"].unique().to_list() if t
        }
        element = pl.col("element_type").replace_strict(sizes, default=0, return_dtype=pl.Int64)
        sent: pl.Expr = pl.when(element > 0).then(
            element * pl.max_horizontal("in_elements", "out_elements")
        )
    else:
        sent = pl.lit(None, pl.Int64)
    inside = pl.col("name").cast(pl.String).str.contains("DtoD|DeviceToDevice")
    return activities.select(
        pl.when(pl.col("class") == "communication")
        .then(sent)
        .when(inside)
        .then(2 * pl.col("bytes"))
        .otherwise("bytes")
    ).to_series()


def _operator_costs(
    host: HostWork, operator: pl.Series, kernel: pl.Series
) -> tuple[pl.Series, pl.DataFrame]:
    """For each operator row the innermost one around it (itself included) that has a cost, and that cost.

    Args:
        host: The host work of the trace.
        operator: Operator row of each activity, null without one.
        kernel: Name of each activity: it tells the element type that lists of tensors do not record.
    """
    trace = host.trace
    if trace.calls.height <= 1:  # nothing but the call without arguments: the trace has no shapes
        unknown = operator.to_frame("at").clear(len(operator))
        nothing = unknown.with_columns(pl.lit(None, t).alias(n) for n, t in _COST.items())
        return unknown["at"], nothing.select(*_COST)
    rounds = [_calls_of(trace, operator, kernel)]
    row = operator
    for _ in range(_CLIMB_LIMIT - 1):
        row = host.above_operator[row]
        rounds.append(_calls_of(trace, row, kernel))
    known = _cost_table(pl.concat(rounds).select(_KEY).unique(maintain_order=True), trace.calls)
    costed = [
        r.join(known, on=_KEY, how="left", nulls_equal=True, maintain_order="left") for r in rounds
    ]
    first = costed[0]
    # an operator around one that has a cost counts that work already
    direct = first["model"].is_not_null()
    counted = pl.concat([r["at"].filter(direct) for r in costed[1:]]).drop_nulls().unique()
    for outer in costed[1:]:
        takes = pl.col("model").is_null() & ~outer["at"].is_in(counted.implode())
        first = first.select(
            pl.when(takes).then(outer[n]).otherwise(pl.col(n)).alias(n) for n in first.columns
        )
    return first.select(
        pl.when(pl.col("model").is_not_null()).then("at")
    ).to_series(), first.select(*_COST)


def _calls_of(trace: Trace, row: pl.Series, kernel: pl.Series) -> pl.DataFrame:
    """What decides the cost of host rows: operator, arguments, and the kernel's element type where lists need it."""
    call = trace.host["call"][row]
    listed = trace.calls["types"].str.contains("TensorList", literal=True)[call]
    elements = {
        n: element_dtype_of_kernel(n)
        for n in kernel.filter(listed).unique().cast(pl.String).to_list()
    }
    element = (
        kernel.cast(pl.String).replace_strict(elements, default="", return_dtype=pl.String)
        if elements
        else ""
    )
    frame = pl.DataFrame(
        {"at": row, "name": trace.host["name"][row], "call": call, "listed": listed}
    )
    return frame.with_columns(
        element=pl.when("listed").then(element if elements else pl.lit("")).otherwise(pl.lit(""))
    ).drop("listed")


def _cost_table(distinct: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    described = distinct.filter(pl.col("call") > 0).join(
        calls, on="call", how="left", maintain_order="left"
    )
    found = [_cost(row) for row in described.iter_rows(named=True)]
    rows = [(k.flops, k.bytes, k.dtype, k.model) if k else (None,) * 4 for k in found]
    table = pl.concat(
        [described.select(_KEY), pl.DataFrame(rows, schema=_COST, orient="row")], how="horizontal"
    )
    return table.filter(pl.col("model").is_not_null())


def _cost(call: dict[str, str]) -> Cost | None:
    extra = {k: call[k] for k in ("kernel_backend", "kernel_kwargs") if call[k]}
    if call["element"]:
        extra["element_dtype"] = call["element"]
    parsed = parse_call(
        call["name"], call["dims"], call["types"], call["strides"], call["concrete"], extra=extra
    )
    cost = cost_of(parsed)
    if (
        cost is None
        or cost.model == VIEW_MODEL
        or not (0 <= cost.flops < _MAX and 0 <= cost.bytes < _MAX)
    ):
        return None
    return cost


def _limits(costed: pl.DataFrame, spec: DeviceSpec | None) -> pl.DataFrame:
    """Add `compute_ns` and `memory_ns`, null where the device or the cost is not known."""
    if spec is None:
        unknown = pl.lit(None, pl.Float64)
        return costed.with_columns(compute_ns=unknown, memory_ns=unknown)
    on_device = ~_crosses_bus() & (pl.col("class") != "communication")
    default = spec.peak("fp32") or max(spec.peak_flops.values())
    peaks = {
        d: float(spec.peak(d) or default) for d in costed["dtype"].drop_nulls().unique().to_list()
    }
    peak = pl.col("dtype").replace_strict(peaks, default=float(default), return_dtype=pl.Float64)
    return costed.with_columns(
        compute_ns=pl.when(on_device).then(pl.col("flops") / peak * 1e9),
        memory_ns=pl.when(on_device).then(pl.col("bytes") / spec.bandwidth_bytes_per_s * 1e9),
    )


def _crosses_bus() -> pl.Expr:
    return (pl.col("kind") == c.MEMCPY) & ~pl.col("name").cast(pl.String).str.contains(
        "DtoD|DeviceToDevice"
    )


def _bound(limits: pl.DataFrame) -> pl.Series:
    roofline = pl.max_horizontal("compute_ns", "memory_ns")
    known = pl.col("model").is_not_null() & roofline.is_not_null()
    time = pl.when(pl.col("op_row").is_null()).then("own_ns").otherwise("group_ns")
    return limits.select(
        bound=pl.when(pl.col("class") == "communication")
        .then(pl.lit("communication"))
        .when(_crosses_bus())
        .then(pl.lit("transfer"))
        .when(~known)
        .then(pl.lit("unknown"))
        .when(time > LATENCY_FACTOR * roofline)
        .then(pl.lit("latency"))
        .when(pl.col("compute_ns") >= pl.col("memory_ns"))
        .then(pl.lit("compute"))
        .otherwise(pl.lit("memory"))
    ).to_series()
