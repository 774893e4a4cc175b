"""fbgemm's operators for sparse features, where the recorded arguments determine them.

Source of the signatures: FBGEMM ``fbgemm_gpu`` schema definitions. A lookup's table widths are not
recorded; where a row-wise optimizer is fused, its state has one number for each row, so the width is
the weights' elements by the rows, if all tables share it.
"""

from __future__ import annotations

import math
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall
from mmprof.analyzers.costs.families.movement import moved
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import quotient, require

# Arguments of split_embedding_codegen_lookup_rowwise_adagrad_function.
_WEIGHTS, _MANAGED_WEIGHTS, _WEIGHT_OFFSETS, _INDICES, _OFFSETS = 1, 2, 5, 11, 12
_INDEX_WEIGHTS, _ROW_STATES = 14, 20

_FP8_ROW_SCALE_BYTES: Final = 8


@cost_model("fbgemm::split_embedding_codegen_lookup_rowwise_adagrad_function")
def pooled_lookup(call: OperatorCall) -> Cost:
    """Sums the rows of each bag, tables side by side; results are float, the operator's default."""
    weights, states = call.tensor(_WEIGHTS), call.tensor(_ROW_STATES)
    indices, offsets = call.tensor(_INDICES), call.tensor(_OFFSETS)
    require(call.tensor(_MANAGED_WEIGHTS).numel == 0, "all weights in device memory")
    width = quotient(weights.numel, states.numel)
    tables = call.tensor(_WEIGHT_OFFSETS).numel
    bags = quotient(offsets.numel - 1, tables)
    rows = weights.like((indices.numel, width))
    result = weights.like((bags, tables * width), "float")
    scale = call.optional_tensor(_INDEX_WEIGHTS)
    operands = [indices, offsets, result, *([scale] if scale else [])]
    read = min(rows.bytes, weights.bytes) + sum(operand.bytes for operand in operands)
    return Cost(rows.numel * (2 if scale else 1), read, "float", "embedding bag")


@cost_model("fbgemm::permute_2D_sparse_data", "fbgemm::permute_sparse_features")
def permute_sparse(call: OperatorCall) -> Cost:
    """(permutation, lengths (features, batch), indices, weights): same features in another order."""
    order, lengths, indices = call.tensor(0), call.tensor(1), call.tensor(2)
    require(lengths.rank == 2 and order.numel == lengths.shape[0], "a permutation")
    weights = call.optional_tensor(3)
    rearranged = [lengths, indices, *([weights] if weights else [])]
    return moved(order, *rearranged, *(tensor.like() for tensor in rearranged))


@cost_model("fbgemm::asynchronous_complete_cumsum", "fb::asynchronous_complete_cumsum")
def complete_cumsum(call: OperatorCall) -> Cost:
    """(counts (..., n)): offsets (..., n + 1)."""
    counts = call.tensor(0)
    require(counts.shape, "a vector")
    result = counts.like((*counts.shape[:-1], counts.shape[-1] + 1))
    return Cost(counts.numel, counts.bytes + result.bytes, counts.dtype, "scan")


@cost_model("fbgemm::permute_pooled_embs_auto_grad", "fbgemm::permute_pooled_embs")
@cost_model("fbgemm::recat_embedding_grad_output_mixed_D_batch")
@cost_model(
    "torch::autograd::CppNode<fbgemm_gpu::PermutePooledEmbsFunction"
    "<&fbgemm_gpu::permute_pooled_embs_gpu> >"
)
def permute_embeddings(call: OperatorCall) -> Cost:
    """(pooled embeddings, offsets ...): the same elements in another order."""
    return moved(*call.tensors(), call.tensor(0).like())


@cost_model("fbgemm::bounds_check_indices")
def check_bounds(call: OperatorCall) -> Cost:
    """(rows of each table, indices, offsets, ...): read and compared; only bad ones are written."""
    rows, indices, offsets = call.tensor(0), call.tensor(1), call.tensor(2)
    read = rows.bytes + indices.bytes + offsets.bytes
    return Cost(indices.numel, read, indices.dtype, "bounds check")


@cost_model("fbgemm::FloatToFP8RowwiseQuantized")
def float_to_fp8_rows(call: OperatorCall) -> Cost:
    """(input (rows, width)): a byte an element, rows padded to 4, and a scale of 8 bytes for each row."""
    tensor = call.tensor(0)
    require(tensor.rank == 2, "rows")
    rows, width = tensor.shape
    written = rows * (4 * math.ceil(width / 4) + _FP8_ROW_SCALE_BYTES)
    return Cost(5 * tensor.numel, tensor.bytes + written, tensor.dtype, "quantize")


@cost_model("fbgemm::FP8RowwiseQuantizedToFloat")
def fp8_rows_to_float(call: OperatorCall) -> Cost:
    """(input (rows, width + 8)): into float, the operator's default."""
    tensor = call.tensor(0)
    require(tensor.rank == 2 and tensor.shape[1] >= _FP8_ROW_SCALE_BYTES, "scaled rows")
    result = tensor.like((tensor.shape[0], tensor.shape[1] - _FP8_ROW_SCALE_BYTES), "float")
    return Cost(2 * result.numel, tensor.bytes + result.bytes, "float", "quantize")


@cost_model("fbgemm::FloatToHFP8Quantized")
def float_to_hfp8(call: OperatorCall) -> Cost:
    """(input, exponent bits, ...): a byte an element."""
    tensor = call.tensor(0)
    result = tensor.like(dtype="unsigned char")
    return Cost(3 * tensor.numel, tensor.bytes + result.bytes, tensor.dtype, "quantize")


@cost_model("fbgemm::HFP8QuantizedToFloat")
def hfp8_to_float(call: OperatorCall) -> Cost:
    """(input, exponent bits, ...): into float."""
    tensor = call.tensor(0)
    result = tensor.like(dtype="float")
    return Cost(2 * tensor.numel, tensor.bytes + result.bytes, "float", "quantize")


@cost_model("fbgemm::dense_to_jagged")
def dense_to_jagged(call: OperatorCall) -> Cost:
    """(dense (batch, longest, width), offsets, total length): only the valid rows move."""
    dense, total = call.tensor(0), call.integer(2)
    require(dense.rank > 1 and total >= 0, "rows")
    values = dense.like((total, dense.extent(-1)))
    return moved(values, values)


@cost_model("fbgemm::jagged_to_padded_dense")
def jagged_to_dense(call: OperatorCall) -> Cost:
    """(values (total, width), offsets, longest lengths, padding), one level of offsets (batch + 1)."""
    values, lengths = call.tensor(0), call.integers(2)
    offsets = call.list_shapes(1)
    require(len(lengths) == len(offsets) == 1 and values.rank == 2, "one level of rows")
    batch, longest = math.prod(offsets[0]) - 1, lengths[0]
    require(batch >= 0 and longest >= 0, "rows")
    return moved(values, values.like((batch, longest, values.extent(1))))
