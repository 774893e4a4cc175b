"""int8 weights of linear layers."""

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
    """Keep the weights in int8, one scale an output channel; multiply in the dtype of the activations."""
    from mmprof.tracer.lever_quantization import quantized  # noqa: PLC0415

    with quantized(workload, "Int8WeightOnlyConfig") as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers with few rows read 8 bits a weight."""
    from mmprof.analyzers.whatif.weights import INT8_WEIGHTS_ENTRY_NS, Weights, small_weights  # noqa: PLC0415  (polars: 100 ms)

    return small_weights(replay, Weights(eager_on_cpu=False, entry_ns=INT8_WEIGHTS_ENTRY_NS))


LEVER: Final = Lever(
    id="quantization_weight_only",
    layer="compression",
    summary="int8 weights of linear layers; activations keep their dtype",
    exactness="lossy",
    risk="medium",
    cost="quality, and the time to quantize",
    hurts="large products: without torch.compile the weight may be written out in full for each call",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what a random Llama of 32 M parameters showed, 5.0e-2; judge quality on a trained model
    budget=0.1,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=("quantization_dynamic",),
)
