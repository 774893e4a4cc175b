"""int8 weights and activations of linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs torchao and linear layers."""
    from mmprof.tracer.lever_quantization import why_not_quantized  # noqa: PLC0415  (torch: seconds)

    return why_not_quantized(workload, device)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep the weights in int8, and round each call's activations to int8."""
    from mmprof.tracer.lever_quantization import quantized  # noqa: PLC0415

    with quantized(workload, "Int8DynamicActivationInt8WeightConfig") as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers bound by compute multiply at the peak of int8."""
    from mmprof.analyzers.whatif.precision import int8_products  # noqa: PLC0415  (polars: 100 ms)

    return int8_products(replay)


LEVER: Final = Lever(
    id="quantization_dynamic",
    layer="compression",
    summary="int8 products of linear layers: weights once, activations at each call",
    exactness="lossy",
    risk="high",
    cost="quality, and the time to quantize",
    hurts="decode: rounding the activations of one row costs more than its product; slow without torch.compile",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what a random Llama of 32 M parameters showed, 8.0e-2; judge quality on a trained model
    budget=0.16,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=("quantization_weight_only",),
)
