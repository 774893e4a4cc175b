"""Loss functions and their gradients.

Operations an element are those of the formula; reduction 0 keeps every element, 1 (mean) and 2
(sum) write one (torch.nn.functional).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Shape, Tensor
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import broadcast, require


@dataclass(frozen=True, slots=True)
class Loss:
    """An elementwise loss: how many tensors lead, where the reduction is, operations an element."""

    tensors: int
    reduction: int
    flops: int


_LOSSES: Final[dict[str, Loss]] = {
    "aten::mse_loss": Loss(2, 2, 2),
    "aten::l1_loss": Loss(2, 2, 2),
    "aten::smooth_l1_loss": Loss(2, 2, 4),
    "aten::huber_loss": Loss(2, 2, 4),
    "aten::kl_div": Loss(2, 2, 4),
    "aten::soft_margin_loss": Loss(2, 2, 4),
    "aten::binary_cross_entropy": Loss(3, 3, 7),
    "aten::binary_cross_entropy_with_logits": Loss(4, 4, 7),
}
_GRADIENTS: Final[dict[str, int]] = {
    "aten::mse_loss_backward": 3,
    "aten::smooth_l1_loss_backward": 4,
    "aten::huber_loss_backward": 4,
    "aten::soft_margin_loss_backward": 5,
    "aten::binary_cross_entropy_backward": 6,
}


def loss(kind: Loss, call: OperatorCall) -> Cost:
    """(input, target, [weights,] reduction, ...)."""
    operands = call.tensors(0, kind.tensors)
    require(len(operands) > 1, "an input and a target")
    shape = broadcast(operand.shape for operand in operands)
    result = operands[0].like(_reduced(call, kind.reduction, shape))
    elements = operands[0].like(shape).numel
    flops = (kind.flops + (0 if result.shape == shape else 1)) * elements
    moved = sum(operand.bytes for operand in operands) + result.bytes
    return Cost(flops, moved, operands[0].dtype, "loss")


for _name, _loss in _LOSSES.items():
    cost_model(_name)(partial(loss, _loss))


def loss_backward(flops: int, call: OperatorCall) -> Cost:
    """(gradient, input, target, ...): the result is like the input."""
    gradient, tensor, target = call.tensor(0), call.tensor(1), call.tensor(2)
    weight = call.optional_tensor(3)
    operands = [gradient, tensor, target, *([weight] if weight else [])]
    moved = sum(operand.bytes for operand in operands) + tensor.like().bytes
    return Cost(flops * tensor.numel, moved, tensor.dtype, "loss backward")


for _name, _flops in _GRADIENTS.items():
    cost_model(_name)(partial(loss_backward, _flops))


@cost_model("aten::nll_loss_forward", "aten::nll_loss", "aten::nll_loss2d_forward")
@cost_model("aten::nll_loss_nd", "aten::nll_loss2d")
def negative_log_likelihood(call: OperatorCall) -> Cost:
    """(log-probabilities, target, weight, reduction, ...): one probability is read for each target."""
    tensor, target = call.tensor(0), call.tensor(1)
    result = tensor.like(_reduced(call, 3, target.shape))
    moved = tensor.like(target.shape).bytes + target.bytes + result.bytes
    return Cost(2 * target.numel, moved, tensor.dtype, "loss")


@cost_model("aten::nll_loss_backward", "aten::nll_loss2d_backward")
def negative_log_likelihood_backward(call: OperatorCall) -> Cost:
    """(gradient, log-probabilities, target, ...): zeros but for one element each target."""
    gradient, tensor, target = call.tensor(0), call.tensor(1), call.tensor(2)
    moved = gradient.bytes + target.bytes + tensor.like().bytes
    return Cost(target.numel, moved, tensor.dtype, "loss backward")


@cost_model("aten::cross_entropy_loss")
def cross_entropy(call: OperatorCall) -> Cost:
    """(logits, target, weight, reduction, ...): a log-softmax and the selection, as one operator."""
    logits: Tensor = call.tensor(0)
    target = call.tensor(1)
    result = logits.like(_reduced(call, 3, target.shape))
    moved = logits.bytes + target.bytes + result.bytes
    return Cost(5 * logits.numel + 2 * target.numel, moved, logits.dtype, "loss")


def _reduced(call: OperatorCall, index: int, shape: Shape) -> Shape:
    return shape if call.integer(index) == 0 else ()
