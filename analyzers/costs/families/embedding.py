"""Lookups of rows: no arithmetic; each row that is read is written once.

Which rows are read is not recorded. A lookup reads at most as many as there are indices, and at
most the whole table.
"""

from __future__ import annotations

import math

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import axis_in, require, with_axis


def lookup(table: Tensor, index: Tensor, result: Tensor) -> Cost:
    """Cost of gathering ``result`` out of ``table`` by ``index``."""
    read = min(table.bytes, table.like(result.shape).bytes)
    return Cost(0, read + index.bytes + result.bytes, "", "lookup")


@cost_model("aten::embedding")
def embedding(call: OperatorCall) -> Cost:
    """(weight (rows, width), indices, ...)."""
    weight, indices = call.tensor(0), call.tensor(1)
    require(weight.rank == 2, "a table")
    return lookup(weight, indices, weight.like((*indices.shape, weight.shape[1])))


@cost_model("aten::index_select")
def index_select(call: OperatorCall) -> Cost:
    """(input, dim, index): the dimension of a vector needs no recording."""
    table, index = call.tensor(0), call.tensor(2)
    axis = 0 if table.rank == 1 else call.integer(1)
    return lookup(table, index, table.like(with_axis(table.shape, axis, index.numel)))


@cost_model("aten::gather")
def gather(call: OperatorCall) -> Cost:
    """(input, dim, index, ...): the result has the index's shape."""
    table, index = call.tensor(0), call.tensor(2)
    return lookup(table, index, table.like(index.shape))


@cost_model("aten::take")
def take(call: OperatorCall) -> Cost:
    """(input, index)."""
    table, index = call.tensor(0), call.tensor(1)
    return lookup(table, index, table.like(index.shape))


@cost_model("aten::embedding_dense_backward", "aten::embedding_backward")
def embedding_dense_backward(call: OperatorCall) -> Cost:
    """(gradient (..., width), indices, rows, ...): a dense gradient of the table, rows added into it."""
    gradient, indices = call.tensor(0), call.tensor(1)
    rows = call.integer(2)
    require(rows >= 0, "a table")
    result = gradient.like((rows, gradient.extent(-1)))
    moved = gradient.bytes + indices.bytes + result.bytes
    return Cost(gradient.numel, moved, gradient.dtype, "embedding backward")


@cost_model("aten::_embedding_bag", "aten::_embedding_bag_forward_only", "aten::embedding_bag")
def embedding_bag(call: OperatorCall) -> Cost:
    """(weight, indices, offsets, ...): one addition for each row read; a result row for each bag."""
    weight, indices, offsets = call.tensor(0), call.tensor(1), call.tensor(2)
    require(weight.rank == 2, "a table")
    bags = offsets.numel - (1 if call.value(7) == "True" else 0)
    if indices.rank == 2:
        bags = indices.shape[0]
    rows = weight.like((indices.numel, weight.shape[1]))
    result = weight.like((max(bags, 0), weight.shape[1]))
    read = min(weight.bytes, rows.bytes)
    moved = read + indices.bytes + offsets.bytes + result.bytes
    return Cost(rows.numel, moved, weight.dtype, "embedding bag")


@cost_model("aten::scatter", "aten::scatter_add", "aten::scatter_reduce")
@cost_model("aten::scatter_", "aten::scatter_add_", "aten::scatter_reduce_")
def scatter(call: OperatorCall) -> Cost:
    """(input, dim, index, source, ...): one element each index, from a tensor or a scalar."""
    target, index, source = call.tensor(0), call.tensor(2), call.optional_tensor(3)
    adds = "add" in call.name or "reduce" in call.name
    return _written_rows(call, target, target.like(index.shape), [index, source], adds=adds)


@cost_model("aten::index_add", "aten::index_add_", "aten::index_copy", "aten::index_copy_")
@cost_model("aten::index_reduce", "aten::index_reduce_")
def index_into(call: OperatorCall) -> Cost:
    """(input, dim, index, source, ...): the source's elements land in the input."""
    target, index, source = call.tensor(0), call.tensor(2), call.tensor(3)
    adds = "copy" not in call.name
    return _written_rows(call, target, target.like(source.shape), [index, source], adds=adds)


@cost_model("aten::index_fill", "aten::index_fill_")
def index_fill(call: OperatorCall) -> Cost:
    """(input, dim, index, value)."""
    target, index = call.tensor(0), call.tensor(2)
    axis = axis_in(target.shape, call.integer(1))
    rows = target.like(with_axis(target.shape, axis, index.numel))
    return _written_rows(call, target, rows, [index], adds=False)


@cost_model("aten::bucketize")
def bucketize(call: OperatorCall) -> Cost:
    """(input, boundaries, out_int32, ...): a binary search for each element."""
    return _search(call.tensor(0), call.tensor(1), narrow=call.value(2) == "True")


@cost_model("aten::searchsorted")
def searchsorted(call: OperatorCall) -> Cost:
    """(sorted sequence, input, out_int32, ...)."""
    return _search(call.tensor(1), call.tensor(0), narrow=call.value(2) == "True")


def _search(values: Tensor, boundaries: Tensor, *, narrow: bool) -> Cost:
    steps = max(1, math.ceil(math.log2(boundaries.shape[-1] + 1))) if boundaries.shape else 1
    result = values.like(dtype="int" if narrow else "long")
    moved = values.bytes + boundaries.bytes + result.bytes
    return Cost(values.numel * steps, moved, values.dtype, "binary search")


def _written_rows(
    call: OperatorCall,
    target: Tensor,
    touched: Tensor,
    sources: list[Tensor | None],
    *,
    adds: bool,
) -> Cost:
    """In place, only the touched elements move; otherwise the whole input is copied first."""
    read = sum(source.bytes for source in sources if source)
    moved = touched.bytes * (2 if adds else 1)
    if not call.name.endswith("_"):
        moved += 2 * target.like().bytes
    return Cost(touched.numel if adds else 0, read + moved, target.dtype if adds else "", "scatter")
