"""Multi-tensor operators: foreach arithmetic and fused optimizers over TensorLists.

Kineto does not record the element type of a list's tensors: these models need
``extra["element_dtype"]``, which ``element_dtype_of_kernel`` reads from the launched kernel.
Operation counts of an optimizer are those of its update rule in torch.optim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.registry import cost_model

_ONE_LIST: Final = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg "
    "reciprocal round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"
)
_TWO_LISTS: Final = "add sub mul div maximum minimum clamp_min clamp_max pow"
_THREE_LISTS: Final = "addcmul addcdiv lerp"


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A fused update: lists in order are parameters, gradients, then optional state lists.

    Attributes:
        states: how many state lists follow the gradients; each is read and written.
        flops: operations for each parameter element.
    """

    states: int
    flops: int


_OPTIMIZERS: Final[dict[str, Optimizer]] = {
    # decay 2, first moment 3, second moment 4, denominator 3, update 2
    "aten::_fused_adam_": Optimizer(3, 14),
    "aten::_fused_adamw_": Optimizer(3, 14),
    # decay 2, momentum 2, update 2
    "aten::_fused_sgd_": Optimizer(1, 6),
    # decay 2, sum of squares 2, denominator 2, update 2
    "aten::_fused_adagrad_": Optimizer(1, 8),
}


def foreach(lists: int, flops: int, call: OperatorCall) -> Cost:
    """Elementwise over lists of equal shapes; a list after the first may be a scalar instead."""
    first = call.tensor_list(0)
    others = [tensor for index in range(1, lists) for tensor in call.optional_list(index)]
    return _over(first, others, flops)


for _name in _ONE_LIST.split():
    cost_model(f"aten::_foreach_{_name}", f"aten::_foreach_{_name}_")(partial(foreach, 1, 1))
for _name in _TWO_LISTS.split():
    cost_model(f"aten::_foreach_{_name}", f"aten::_foreach_{_name}_")(partial(foreach, 2, 1))
for _name in _THREE_LISTS.split():
    cost_model(f"aten::_foreach_{_name}", f"aten::_foreach_{_name}_")(partial(foreach, 3, 3))


@cost_model("aten::_amp_foreach_non_finite_check_and_unscale_")
def unscale(call: OperatorCall) -> Cost:
    """(gradients, found_inf, inverse scale): scaled in place."""
    return _over(call.tensor_list(0), [], 1)


@cost_model("aten::_foreach_copy_")
def foreach_copy(call: OperatorCall) -> Cost:
    """(targets, sources, ...): sources are taken for the targets' type, lists record none."""
    sources = call.tensor_list(1)
    moved = sum(tensor.bytes + tensor.like().bytes for tensor in sources)
    return Cost(0, moved, "", "foreach")


@cost_model("aten::_foreach_zero_")
def foreach_zero(call: OperatorCall) -> Cost:
    """(targets): written only."""
    return Cost(0, sum(tensor.like().bytes for tensor in call.tensor_list(0)), "", "foreach")


@cost_model("aten::_foreach_norm", "aten::_foreach_max")
def foreach_reduction(call: OperatorCall) -> Cost:
    """(tensors, ...): one number for each."""
    tensors = call.tensor_list(0)
    elements = sum(tensor.numel for tensor in tensors)
    moved = sum(tensor.bytes + tensor.like(()).bytes for tensor in tensors)
    return Cost(2 * elements, moved, tensors[0].dtype, "foreach")


def fused_update(optimizer: Optimizer, call: OperatorCall) -> Cost:
    """Parameters and states are read and written, gradients only read."""
    parameters, gradients = call.tensor_list(0), call.tensor_list(1)
    states = [
        tensor for place in range(optimizer.states) for tensor in call.optional_list(2 + place)
    ]
    written = [*parameters, *states]
    moved = sum(2 * tensor.bytes for tensor in written) + sum(each.bytes for each in gradients)
    elements = sum(tensor.numel for tensor in parameters)
    return Cost(optimizer.flops * elements, moved, parameters[0].dtype, "optimizer")


for _name, _optimizer in _OPTIMIZERS.items():
    cost_model(_name)(partial(fused_update, _optimizer))


def _over(first: list[Tensor], others: list[Tensor], flops: int) -> Cost:
    read = sum(tensor.bytes for tensor in (*first, *others))
    written = sum(tensor.like().bytes for tensor in first)
    elements = sum(tensor.numel for tensor in first)
    return Cost(flops * elements, read + written, first[0].dtype, "foreach")
