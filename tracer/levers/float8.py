"""float8 products of linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_MULTIPLE: Final = 16
"""Sides of the matrices of `torch._scaled_mm`."""


def applies(workload: Workload, device: str) -> str:
    """Needs torchao, float8 units, and linear layers whose sides those take."""
    from mmprof.tracer.lever_quantization import quantizable, why_not_quantized  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.quantization.candidates import why_no_float8  # noqa: PLC0415

    sides = (side for layer in quantizable(workload) for side in layer.weight.shape)
    odd = next((side for side in sides if side % _MULTIPLE), 0)
    uneven = f"a linear layer has a side of {odd}, no multiple of {_MULTIPLE}" if odd else ""
    return why_no_float8(device) or why_not_quantized(workload, device) or uneven


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep the weights in float8, round each call's activations to it; one scale a row."""
    from mmprof.tracer.lever_quantization import a_scale_a_row, quantized  # noqa: PLC0415

    config = "Float8DynamicActivationFloat8WeightConfig"
    with quantized(workload, config, granularity=a_scale_a_row()) as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Products bound by compute run at the peak of float8, after a pass that rounds."""
    from mmprof.analyzers.whatif.precision import float8_products  # noqa: PLC0415  (polars: 100 ms)

    return float8_products(replay)


LEVER: Final = Lever(
    id="float8",
    layer="compression",
    summary="float8 products of linear layers: weights once, activations at each call",
    exactness="lossy",
    risk="high",
    cost="quality, and the time to quantize",
    hurts="decoding, where rounding the activations of one row costs more than its product; slow without torch.compile",
    applies=applies,
    apply=apply,
    predict=predict,
    # Four bits of mantissa in weights and activations; twice what float8 weights of a random Llama alone showed, 0.18.
    budget=0.36,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "autoquant",
        "linear_layout",
        "fp16_weights",
        "quantization_int4",
        "quantization_dynamic",
        "quantization_weight_only",
    ),
)
