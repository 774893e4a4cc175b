"""Operators that only move data: no arithmetic, the source read once and the result written once."""

from __future__ import annotations

import math

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import broadcast, require, require_extents, with_axis


def moved(*tensors: Tensor) -> Cost:
    """Cost of touching each of these tensors once."""
    return Cost(0, sum(tensor.bytes for tensor in tensors), "", "copy")


@cost_model("aten::copy_", "aten::copy")
def copy(call: OperatorCall) -> Cost:
    """(target, source, ...): may convert the type and broadcast."""
    return moved(call.tensor(0), call.tensor(1))


@cost_model("aten::clone", "aten::_pin_memory", "aten::alias_copy")
@cost_model("aten::roll", "aten::flip", "aten::fliplr", "aten::flipud", "aten::rot90")
@cost_model("aten::tril", "aten::triu", "aten::channel_shuffle", "aten::pixel_shuffle")
@cost_model("aten::tril_", "aten::triu_", "aten::pixel_unshuffle", "aten::conj_physical")
@cost_model("aten::view_copy", "aten::permute_copy", "aten::transpose_copy", "aten::t_copy")
@cost_model("aten::_reshape_copy")
def rearranged(call: OperatorCall) -> Cost:
    """The result has the input's size, whatever its order."""
    return moved(call.tensor(0), call.tensor(0).like())


@cost_model("aten::_to_copy")
def converted(call: OperatorCall) -> Cost:
    """(input, dtype, ...)."""
    tensor = call.tensor(0)
    return moved(tensor, tensor.like(dtype=call.dtype_argument(1)))


@cost_model("aten::fill_", "aten::zero_", "aten::fill", "aten::zero", "aten::eye")
def filled(call: OperatorCall) -> Cost:
    """(target, value): written only."""
    value = call.optional_tensor(1)
    return moved(call.tensor(0).like(), *([value] if value else []))


@cost_model("aten::scalar_tensor")
def scalar_tensor(call: OperatorCall) -> Cost:
    """(value, dtype, ...): one element is written."""
    return moved(Tensor((), call.dtype_argument(1) or "float"))


@cost_model("aten::cat", "aten::concat", "aten::_cat", "aten::stack", "aten::_stack")
def concatenated(call: OperatorCall) -> Cost:
    """(tensors, dim, result), or with the result first: the sum of the inputs is written.

    A list's element type is not recorded; without ``element_dtype`` the result's, if given, holds.
    """
    place = 0 if call.types[:1] in (("TensorList",), ("GenericList",)) else 1
    given = call.optional_tensor(0) if place else call.optional_tensor(2)
    if given and "element_dtype" not in call.extra:
        call = OperatorCall(
            call.name,
            call.dims,
            call.types,
            call.strides,
            call.concrete,
            {"element_dtype": given.dtype},
        )
    parts = call.tensor_list(place)
    return moved(*parts, *(part.like() for part in parts))


@cost_model("aten::masked_fill", "aten::masked_fill_")
def masked_fill(call: OperatorCall) -> Cost:
    """(input, mask, value)."""
    tensor, mask = call.tensor(0), call.tensor(1)
    result = tensor.like(broadcast([tensor.shape, mask.shape]))
    return moved(tensor, mask, result)


@cost_model("aten::repeat")
def repeated(call: OperatorCall) -> Cost:
    """(input, repeats)."""
    tensor, repeats = call.tensor(0), call.integers(1)
    require(len(repeats) >= tensor.rank, "a count for each dimension")
    require_extents(repeats)
    return moved(tensor, tensor.like((tensor.numel, *repeats)))


@cost_model("aten::repeat_interleave")
def repeated_elements(call: OperatorCall) -> Cost:
    """(input, repeats, dim, output_size); with repeats as a tensor the result is not recorded."""
    tensor, repeats = call.tensor(0), call.integer(1)
    require(repeats >= 0, "a count")
    return moved(tensor, tensor.like((tensor.numel, repeats)))


@cost_model("aten::constant_pad_nd", "aten::reflection_pad1d", "aten::reflection_pad2d")
@cost_model("aten::reflection_pad3d", "aten::replication_pad1d", "aten::replication_pad2d")
@cost_model("aten::replication_pad3d")
def padded(call: OperatorCall) -> Cost:
    """(input, amounts before and after each dimension from the last, ...)."""
    tensor, amounts = call.tensor(0), call.integers(1)
    require(len(amounts) % 2 == 0 and len(amounts) // 2 <= tensor.rank, "padding")
    shape = tensor.shape
    for axis, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True), start=1):
        require(shape[-axis] + before + after >= 0, "an extent")
        shape = with_axis(shape, -axis, shape[-axis] + before + after)
    return moved(tensor, tensor.like(shape))


@cost_model("aten::slice_scatter", "aten::select_scatter", "aten::as_strided_scatter")
def scattered_slice(call: OperatorCall) -> Cost:
    """(input, source, ...): a copy of the input with a part replaced."""
    tensor, source = call.tensor(0), call.tensor(1)
    return moved(tensor, source, tensor.like())


@cost_model("aten::slice_backward", "aten::select_backward")
def sliced_gradient(call: OperatorCall) -> Cost:
    """(gradient, input sizes, ...): zeros with the gradient in its place."""
    gradient, sizes = call.tensor(0), call.integers(1)
    require_extents(sizes)
    return moved(gradient, gradient.like(sizes))


@cost_model("aten::_local_scalar_dense")
def read_scalar(call: OperatorCall) -> Cost:
    """One element goes to the host."""
    tensor = call.tensor(0)
    require(math.prod(tensor.shape) == 1, "one element")
    return moved(tensor)


@cost_model("aten::arange", "aten::range", "aten::linspace", "aten::logspace")
def sequence(call: OperatorCall) -> Cost:
    """Forms with a result argument only: (start, end, step or steps, result)."""
    result = call.tensors()[-1:]
    require(result and len(call.types) - 1 >= 3, "a result")
    start, end, step = (call.number(index) for index in range(3))
    if call.name in ("aten::linspace", "aten::logspace"):
        count = step
    else:
        require(step and math.isfinite((end - start) / step), "a step")
        count = math.ceil((end - start) / step) + (call.name == "aten::range")
    require(count >= 0, "a sequence")
    return moved(result[0].like((int(count),)))
