"""Operators that return a view of the same memory, or memory not yet written: no work at all.

Some copy when they must (``contiguous``, ``to``, ``reshape``): an operator inside them does it then.
"""

from __future__ import annotations

from mmprof.analyzers.costs.call import VIEW_MODEL, Cost, OperatorCall
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import require


@cost_model("aten::view", "aten::_unsafe_view", "aten::_reshape_alias", "aten::reshape", "aten::t")
@cost_model("aten::transpose", "aten::transpose_", "aten::permute", "aten::movedim", "aten::mT")
@cost_model("aten::expand", "aten::expand_as", "aten::broadcast_to", "aten::broadcast_tensors")
@cost_model("aten::slice", "aten::select", "aten::narrow", "aten::split", "aten::split_with_sizes")
@cost_model("aten::chunk", "aten::unbind", "aten::squeeze", "aten::squeeze_", "aten::unsqueeze")
@cost_model("aten::unsqueeze_", "aten::flatten", "aten::unflatten", "aten::as_strided")
@cost_model("aten::as_strided_", "aten::detach", "aten::detach_", "aten::alias", "aten::unfold")
@cost_model("aten::diagonal", "aten::view_as", "aten::view_as_real", "aten::view_as_complex")
@cost_model("aten::numpy_T", "aten::swapaxes", "aten::lift_fresh", "aten::conj", "aten::real")
@cost_model("aten::imag", "detach", "detach_", "aten::tensor_split", "aten::unsafe_split")
@cost_model("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty")
@cost_model("aten::new_empty_strided", "aten::result_type", "aten::is_nonzero", "aten::set_")
@cost_model("aten::record_stream", "_C::weak_ref_tensor", "aten::item", "aten::to")
@cost_model("aten::contiguous", "aten::type_as", "aten::resolve_conj", "aten::resolve_neg")
@cost_model("aten::dropout", "aten::feature_dropout")
def no_work(_call: OperatorCall) -> Cost:
    """Zero FLOPs and bytes."""
    return Cost(0, 0, "", VIEW_MODEL)


@cost_model("aten::resize_")
def resize(call: OperatorCall) -> Cost:
    """(input, sizes, ...): an allocation while the input is still empty; else it may copy."""
    require(call.tensor(0).numel == 0, "an empty tensor")
    return Cost(0, 0, "", VIEW_MODEL)
