"""Pointwise operators with broadcasting and type promotion.

One operation an element of the result (a transcendental function counts as one), unless the table
says how many. The result's type follows torch's promotion; comparisons write bool.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from mmprof.analyzers.costs.call import Cost, OperatorCall, Tensor
from mmprof.analyzers.costs.dtypes import promote, promote_to_float
from mmprof.analyzers.costs.registry import cost_model
from mmprof.analyzers.costs.shapes import broadcast, require


@dataclass(frozen=True, slots=True)
class Pointwise:
    """How a pointwise operator reads its arguments and types its result.

    Attributes:
        inputs: how many leading arguments can be tensors that are read; a tensor after them is the
            result that an ``out=`` form was given.
        flops: operations for each element of the result.
        floats: integers are promoted to float.
        predicate: the result is bool.
        untyped: leading arguments without a say in the result's type (a condition, a mask).
    """

    inputs: int
    flops: int = 1
    floats: bool = False
    predicate: bool = False
    untyped: int = 0


_KINDS: Final[dict[Pointwise, str]] = {
    Pointwise(1): (
        "abs neg sign sgn ceil floor round trunc frac relu relu6 gelu silu mish elu selu celu "
        "hardswish hardsigmoid hardtanh leaky_relu softplus softshrink hardshrink threshold square "
        "bitwise_not nan_to_num log_sigmoid log_sigmoid_forward positive negative "
        "absolute fix"
    ),
    Pointwise(1, floats=True): (
        "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh "
        "asinh acosh atanh erf erfc erfinv sigmoid reciprocal logit lgamma digamma i0 sinc angle "
        "deg2rad rad2deg special_expit special_erf special_log1p special_ndtr special_entr"
    ),
    Pointwise(1, predicate=True): "isnan isinf isfinite isneginf isposinf logical_not signbit",
    Pointwise(2): (
        "add sub mul rsub subtract multiply maximum minimum fmax fmin pow remainder fmod "
        "floor_divide bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift "
        "__and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__ __ixor__ hypot copysign "
        "heaviside nextafter gcd lcm prelu _prelu_kernel clamp_min clamp_max threshold_backward "
        "leaky_relu_backward hardtanh_backward hardsigmoid_backward native_dropout_backward"
    ),
    Pointwise(
        2, floats=True
    ): "div divide true_divide atan2 xlogy logaddexp logaddexp2 float_power",
    Pointwise(2, predicate=True): (
        "eq ne lt le gt ge not_equal less less_equal greater greater_equal "
        "logical_and logical_or logical_xor isclose"
    ),
    # Gradients from the function's input or output: the derivative and its product with the gradient.
    Pointwise(2, flops=3): "sigmoid_backward tanh_backward logit_backward softplus_backward",
    Pointwise(2, flops=4): "silu_backward hardswish_backward elu_backward",
    Pointwise(2, flops=8): "gelu_backward mish_backward",
    Pointwise(3, flops=3): "log_sigmoid_backward addcmul addcdiv lerp",
    Pointwise(3, flops=2): "clamp clip",
    Pointwise(3, untyped=1): "where",
}

_WITHOUT_IN_PLACE: Final = (
    "angle fmax fmin hardshrink isclose isfinite isinf isnan isneginf isposinf log_sigmoid "
    "log_sigmoid_forward logaddexp logaddexp2 maximum minimum positive prelu rsub signbit softplus "
    "softshrink special_entr special_erf special_expit special_log1p special_ndtr where"
)


def _with_in_place(name: str) -> list[str]:
    without = _WITHOUT_IN_PLACE.split()
    in_place = name[0] != "_" and not name.endswith("backward") and name not in without
    return [f"aten::{name}", *([f"aten::{name}_"] if in_place else [])]


def pointwise(kind: Pointwise, call: OperatorCall) -> Cost:
    """Cost of one pointwise operator; the result broadcasts the inputs."""
    operands = call.tensors(0, kind.inputs)
    require(operands, "a tensor")
    shape = broadcast(operand.shape for operand in operands)
    computed = _computed_dtype(kind, call)
    result = Tensor(shape, _result_dtype(kind, call, computed))
    moved = sum(operand.bytes for operand in operands) + result.bytes
    return Cost(kind.flops * result.numel, moved, computed, "elementwise")


for _kind, _names in _KINDS.items():
    for _name in _names.split():
        cost_model(*_with_in_place(_name))(partial(pointwise, _kind))
cost_model("torch::distributed::reducer::mul_out")(partial(pointwise, Pointwise(2)))


def _computed_dtype(kind: Pointwise, call: OperatorCall) -> str:
    typed = call.tensors(kind.untyped, kind.inputs) or call.tensors(0, kind.inputs)
    computed = promote(
        [tensor.dtype for tensor in typed if tensor.shape],
        [tensor.dtype for tensor in typed if not tensor.shape],
    )
    return promote_to_float(computed) if kind.floats else computed


def _result_dtype(kind: Pointwise, call: OperatorCall, computed: str) -> str:
    if call.name.endswith("_"):
        return call.tensor(0).dtype
    given = call.tensors(kind.inputs)
    if given:
        return given[-1].dtype
    return "bool" if kind.predicate else computed


@cost_model("aten::glu")
def gated_linear_unit(call: OperatorCall) -> Cost:
    """(input, dim): half of the input times the sigmoid of the other half."""
    tensor = call.tensor(0)
    half = tensor.numel // 2
    return Cost(2 * half, tensor.bytes + tensor.like((half,)).bytes, tensor.dtype, "elementwise")


@cost_model("aten::uniform_", "aten::normal_", "aten::bernoulli_", "aten::random_")
@cost_model("aten::exponential_", "aten::log_normal_", "aten::geometric_", "aten::cauchy_")
def random_fill(call: OperatorCall) -> Cost:
    """(target, ...): written only, one operation an element."""
    target = call.tensor(0).like()
    probability = call.optional_tensor(1)
    moved = target.bytes + (probability.bytes if probability else 0)
    return Cost(target.numel, moved, target.dtype, "random")


@cost_model("aten::bernoulli", "aten::poisson")
def random_from_input(call: OperatorCall) -> Cost:
    """(probabilities, ...): the result is like them."""
    tensor = call.tensor(0)
    return Cost(tensor.numel, tensor.bytes + tensor.like().bytes, tensor.dtype, "random")


@cost_model("aten::native_dropout", "aten::_fused_dropout")
def dropout(call: OperatorCall) -> Cost:
    """(input, p, ...): writes the result and a mask of one byte an element."""
    tensor = call.tensor(0)
    moved = tensor.bytes + tensor.like().bytes + tensor.numel
    return Cost(2 * tensor.numel, moved, tensor.dtype, "dropout")
