"""Ways to multiply by the weights of a linear layer: other memory layouts, smaller numbers.

Each is made once for a layer, and called with its activations. Which is fastest depends on the shape, the CPU and the libraries
it was built with, so that it is measured and not guessed: `tuning`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import Argument

Product: TypeAlias = Callable[[Tensor], Tensor]

GROUP: Final = 32
"""Weights that share a scale in int4."""

_INT4_OUTPUTS: Final = 16
"""The CPU kernel packs int4 weights of this many outputs together."""

_INT8_INPUTS: Final = 16
"""The int8 kernel reads so many weights at once, and past the end of others: a crash."""

_INT8_LARGEST: Final = 127
_INT4_STEPS: Final = 15
_INT4_MIDDLE: Final = 8

FEW_ROWS: Final = 32
"""Weight-only kernels of a CPU are made for decoding: with more rows than this they lose to any product."""

_FLOAT8_CAPABILITY: Final = (8, 9)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to multiply.

    Attributes:
        name: Its name in tables.
        why_not: Why it cannot multiply by a layer's weights; empty where it can.
        make: Makes the product of a layer and a number of rows.
        most_rows: Most rows of activations that it is made for.
        by_rows: Whether the product is made for one number of rows.
    """

    name: str
    why_not: Callable[[nn.Linear], str]
    make: Callable[[nn.Linear, int], Product]
    most_rows: int = sys.maxsize
    by_rows: bool = False


def as_is(layer: nn.Linear) -> Product:
    """The product that the layer makes."""
    weight, bias = layer.weight, layer.bias
    return lambda x: functional.linear(x, weight, bias)


def _always(layer: nn.Linear) -> str:  # noqa: ARG001  (the form that all have)
    return ""


def _float32_on_cpu(layer: nn.Linear) -> str:
    if layer.weight.device.type != "cpu":
        return "a kernel of CPUs"
    return "" if layer.weight.dtype == torch.float32 else "multiplies float32"


def _transposed(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
    weight, bias = layer.weight.detach().t().contiguous().t(), layer.bias
    return lambda x: functional.linear(x, weight, bias)


def _onednn(layer: nn.Linear) -> str:
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return _float32_on_cpu(layer) if available else "this torch has no oneDNN"


def _onednn_packed(layer: nn.Linear, rows: int) -> Product:
    packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)  # noqa: SLF001
    bias = _detached(layer.bias)
    multiply = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    return lambda x: cast("Tensor", multiply(x, packed, bias, "none", [], ""))


def _mkl(layer: nn.Linear) -> str:
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return "this torch has no MKL"
    return _float32_on_cpu(layer)


def _mkl_packed(layer: nn.Linear, rows: int) -> Product:
    weight, bias = layer.weight.detach(), _detached(layer.bias)
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)  # noqa: SLF001
    multiply = torch.ops.mkl._mkl_linear  # noqa: SLF001
    return lambda x: cast("Tensor", multiply(x, packed, weight, bias, rows))


def _fbgemm(layer: nn.Linear) -> str:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return "this torch has no FBGEMM"
    return _float32_on_cpu(layer)


def fp16_weights(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
    """Weights in float16, activations and sums in float32: FBGEMM, Khudia et al., arXiv:2101.05615."""
    bias = _detached(layer.bias)
    packed = torch.ops.quantized.linear_prepack_fp16(layer.weight.detach(), bias)
    multiply = torch.ops.quantized.linear_dynamic_fp16
    return lambda x: cast("Tensor", multiply(x, packed))


def int8_scales(weight: Tensor) -> Tensor:
    """One scale an output channel, so that its largest weight is 127; 1 for a channel of zeros."""
    scales = weight.abs().amax(1).float() / _INT8_LARGEST
    return torch.where(scales > 0, scales, 1.0)


def _floats_on_cpu(layer: nn.Linear) -> str:
    if layer.weight.device.type != "cpu":
        return "a kernel of CPUs"
    if layer.weight.dtype not in {torch.float32, torch.bfloat16}:
        return "multiplies float32 and bfloat16"
    return ""


def _int8_on_cpu(layer: nn.Linear) -> str:
    inputs = layer.weight.shape[1]
    if inputs % _INT8_INPUTS:
        return f"{inputs} inputs are no multiple of {_INT8_INPUTS}"
    return _floats_on_cpu(layer)


def int8_weights(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
    """Weights in int8, one scale an output channel; activations in bfloat16, for which the kernel is made."""
    weight, bias = layer.weight.detach(), layer.bias
    scales = int8_scales(weight)
    rounded = (weight.float() / scales[:, None]).round().to(torch.int8)
    half = scales.to(torch.bfloat16)
    return _by_rows(lambda x: torch._weight_int8pack_mm(x, rounded, half), bias)  # noqa: SLF001


def _by_rows(multiply: Product, bias: Tensor | None) -> Product:
    """A product of contiguous bfloat16 matrices, for activations of any number of dimensions, dtype and layout."""

    def product(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16).contiguous()
        made = multiply(rows).to(x.dtype)
        made = made if bias is None else made + bias
        return made.view(*x.shape[:-1], made.shape[-1])

    return product


def int8_dynamic(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
    """Weights in int8, activations rounded at each call, to 7 bits: with 8, sums of two products overflow without VNNI.

    The kernel has one scale for all rows, so that each is scaled to the same range first: one token with large activations
    (the first one of a trained Llama) would leave the others a few steps. On SmolLM2 perplexity rises by 8 % instead of 135 %.
    """
    weight, bias = layer.weight.detach(), layer.bias
    zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
    with warnings.catch_warnings():  # torch announces that these tensors will go
        warnings.simplefilter("ignore")
        rounded = torch.quantize_per_channel(weight, int8_scales(weight), zeros, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(rounded, None)
    multiply = torch.ops.quantized.linear_dynamic

    def product(x: Tensor) -> Tensor:
        if x.numel() == x.shape[-1]:  # one row
            made = multiply(x, packed, reduce_range=True)
            return cast("Tensor", made if bias is None else made + bias)
        ranges = torch.linalg.vector_norm(x, math.inf, -1, keepdim=True)
        ranges = ranges.clamp(min=torch.finfo(x.dtype).tiny)
        made = multiply(x / ranges, packed, reduce_range=True)
        # few operators: with the rows of a beam search each costs as much as a tenth of the product
        return made * ranges if bias is None else torch.addcmul(bias, made, ranges)

    return product


def why_not_int4(layer: nn.Linear) -> str:
    """Why a layer cannot have int4 weights on a CPU; empty where it can."""
    outputs, inputs = layer.weight.shape
    if inputs % GROUP or outputs % _INT4_OUTPUTS:
        return f"{inputs} inputs are no multiple of {GROUP}, or {outputs} outputs none of {_INT4_OUTPUTS}"
    return ""


def int4_weights(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
    """Weights in int4, a scale and a minimum for each 32 of an output channel; activations in bfloat16."""
    numbers, scales = int4_numbers(layer.weight.detach().float())
    packed = torch._convert_weight_to_int4pack_for_cpu(numbers, 1)  # noqa: SLF001
    half = scales.to(torch.bfloat16)
    multiply = torch._weight_int4pack_mm_for_cpu  # noqa: SLF001
    return _by_rows(lambda x: multiply(x, packed, GROUP, half), layer.bias)


def int4_numbers(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as numbers from 0 to 15, and what they stand for.

    Returns:
        The numbers (outputs, inputs), and scale and middle of each group (groups, outputs, 2): a number q is the weight
        (q - 8) * scale + middle.
    """
    grouped = weight.view(weight.shape[0], -1, GROUP)
    low, high = grouped.amin(-1), grouped.amax(-1)
    scales = ((high - low) / _INT4_STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    numbers = ((grouped - low[..., None]) / scales[..., None]).round().clamp(0, _INT4_STEPS)
    meant = torch.stack([scales, low + _INT4_MIDDLE * scales], dim=-1)
    return numbers.to(torch.int32).view(weight.shape), meant.transpose(0, 1).contiguous()


def _int4_on_cpu(layer: nn.Linear) -> str:
    return why_not_int4(layer) or _floats_on_cpu(layer)


def _accelerated(layer: nn.Linear) -> str:
    if layer.weight.device.type == "cpu":
        return "without a compiler slower on a CPU than its own kernels"
    if importlib.util.find_spec("torchao") is None:
        return "needs torchao: pip install 'mmprof[levers]'"
    return ""


def _float8(layer: nn.Linear) -> str:
    return _accelerated(layer) or why_no_float8(layer.weight.device)


def why_no_float8(device: torch.device | str) -> str:
    """Why a device cannot multiply float8; empty where it can."""
    place = torch.device(device)
    if place.type != "cuda":
        return f"{place.type} has no float8 units"
    found = torch.cuda.get_device_capability(place)
    if torch.version.hip or found >= _FLOAT8_CAPABILITY:
        return ""
    return f"needs compute capability {_named(_FLOAT8_CAPABILITY)}, found {_named(found)}"


def _named(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _torchao(config: str, **options: Argument) -> Callable[[nn.Linear, int], Product]:
    """Makes products by a configuration of torchao, on a layer that shares the weights until they are quantized."""

    def make(layer: nn.Linear, rows: int) -> Product:  # noqa: ARG001
        torchao: Any = importlib.import_module("torchao.quantization")
        outputs, inputs = layer.weight.shape
        twin = nn.Linear(inputs, outputs, bias=layer.bias is not None, device="meta")
        twin.weight, twin.bias = layer.weight, layer.bias
        holder = nn.Sequential(twin)
        torchao.quantize_(holder, getattr(torchao, config)(**options))
        return cast("Product", holder[0])

    return make


EXACT: Final = (
    Candidate("transposed", _always, _transposed),
    Candidate("onednn packed", _onednn, _onednn_packed, by_rows=True),
    Candidate("mkl packed", _mkl, _mkl_packed, by_rows=True),
)
"""Candidates that change the order of additions only."""

LOSSY: Final = (
    Candidate("fp16 weights", _fbgemm, fp16_weights),
    Candidate("int8 weights", _int8_on_cpu, int8_weights, FEW_ROWS),
    Candidate("int8 dynamic", _fbgemm, int8_dynamic),
    Candidate("int4 weights", _int4_on_cpu, int4_weights, FEW_ROWS),
    Candidate(
        "float8", _float8, _torchao("Float8DynamicActivationFloat8WeightConfig", set_inductor_config=False)
    ),
    Candidate(
        "torchao int8 weights", _accelerated, _torchao("Int8WeightOnlyConfig", set_inductor_config=False)
    ),
    Candidate(
        "torchao int8 dynamic",
        _accelerated,
        _torchao("Int8DynamicActivationInt8WeightConfig", set_inductor_config=False),
    ),
)  # fmt: skip
"""Candidates that round, the most precise first."""


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
