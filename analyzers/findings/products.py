"""Matrix products of a window with their extents: what several rules ask of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.costs import Tensor, element_bytes, parse_call
from mmprof.analyzers.costs.call import UnderivableError
from mmprof.analyzers.findings.evidence import with_costs

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Where an operator's two factors stand among its arguments.
_FACTORS: Final = {
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::matmul": (0, 1),
    "aten::addmm": (1, 2),
    "aten::baddbmm": (1, 2),
    "aten::_addmm_activation": (1, 2),
    "aten::linear": (0, 1),
    "aten::mkldnn_linear": (0, 1),
}
_WEIGHT_TRANSPOSED: Final = ("aten::linear", "aten::mkldnn_linear")


@dataclass(frozen=True, slots=True)
class Extents:
    """A product (batch, m, k) @ (batch, k, n).

    Attributes:
        batch: Number of products.
        m: Rows of the first factor.
        n: Columns of the second.
        k: Extent that is summed over.
        first_bytes: Bytes of the first factor.
        second_bytes: Bytes of the second.
        result_bytes: Bytes of the result.
        stored: The extents that are contiguous in memory, in the order first factor, second factor, result.
    """

    batch: int
    m: int
    n: int
    k: int
    first_bytes: int
    second_bytes: int
    result_bytes: int
    stored: list[int]


_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **dict.fromkeys(
        ("batch", "m", "n", "k", "first_bytes", "second_bytes", "result_bytes"), pl.Int64
    ),
    "stored": pl.List(pl.Int64),
}


def products(view: View) -> pl.DataFrame:
    """One row per call of a matrix product, in launch order per thread.

    Returns:
        op_row, `at` (place of its longest activity in `view.activities`), event, launch, thread, launch_start_ns,
        start_ns, name, class, in_chain, dtype, bound, own_ns (of all its activities), flops, moved_bytes, roofline_ns,
        and the fields of `Extents`.
    """
    host = view.trace.host
    calls = _by_operator(with_costs(view).with_row_index("at"))
    keyed = calls.with_columns(
        operator=host["name"][calls["op_row"]].cast(pl.String),
        call=host["call"][calls["op_row"]],
    )
    known = _extents_by_call(view, keyed.select("operator", "call").unique(maintain_order=True))
    joined = keyed.join(known, on=["operator", "call"], how="inner")
    return joined.sort("thread", "launch_start_ns", "start_ns")


def extents(operator: str, arguments: dict[str, str]) -> Extents | None:
    """The extents of a recorded call; None where they are not known or the operator is no plain product."""
    factors = _FACTORS.get(operator)
    if factors is None:
        return None
    call = parse_call(operator, arguments["dims"], arguments["types"], arguments["strides"])
    try:
        return _extents(call.tensor(factors[0]), _second(operator, call.tensor(factors[1])))
    except UnderivableError:
        return None


def _by_operator(activities: pl.DataFrame) -> pl.DataFrame:
    longest_first = activities.filter(
        (pl.col("model") == "matmul") & pl.col("op_row").is_not_null()
    ).sort("own_ns", "at", descending=[True, False])
    return longest_first.group_by("op_row", maintain_order=True).agg(
        pl.col(
            "at", "event", "launch", "thread", "launch_start_ns", "start_ns", "name", "class",
            "in_chain", "dtype", "bound",
        ).first(),
        pl.col("own_ns", "flops", "moved_bytes", "roofline_ns").sum(),
    )  # fmt: skip


def _extents_by_call(view: View, distinct: pl.DataFrame) -> pl.DataFrame:
    described = distinct.join(view.trace.calls, on="call", how="left", maintain_order="left")
    found = [extents(row["operator"], row) for row in described.iter_rows(named=True)]
    rows = [asdict(e) if e else dict.fromkeys(_SCHEMA) for e in found]
    table = pl.concat([distinct, pl.DataFrame(rows, schema=_SCHEMA)], how="horizontal")
    return table.filter(pl.col("m").is_not_null())


def _second(operator: str, factor: Tensor) -> Tensor:
    """The second factor as (k, n); a weight is stored as (n, k)."""
    if operator not in _WEIGHT_TRANSPOSED or factor.rank != 2:
        return factor
    strides = factor.strides or (factor.shape[1], 1)
    return Tensor(factor.shape[::-1], factor.dtype, strides[::-1])


def _extents(first: Tensor, second: Tensor) -> Extents | None:
    if first.rank < 2 or second.rank < 2:
        return None
    # A 3-D input of a linear layer is one product with all its rows.
    batch = math.prod(second.shape[:-2])
    rows = math.prod(first.shape[:-1]) if second.rank == 2 else first.extent(-2)
    columns = second.extent(-1)
    return Extents(
        batch=batch,
        m=rows,
        n=columns,
        k=first.extent(-1),
        first_bytes=first.bytes,
        second_bytes=second.bytes,
        result_bytes=(element_bytes(first.dtype) or 0) * batch * rows * columns,
        stored=[_contiguous(first), _contiguous(second), columns],
    )


def _contiguous(matrix: Tensor) -> int:
    """The extent along which the elements of a matrix are neighbours in memory."""
    transposed = len(matrix.strides) == matrix.rank and (
        matrix.strides[-1] != 1 and matrix.strides[-2] == 1
    )
    return matrix.extent(-2 if transposed else -1)
