"""int8 weights and activations of linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


_CANDIDATE: Final = "int8 dynamic"
_TORCHAO: Final = "Int8DynamicActivationInt8WeightConfig"


def applies(workload: Workload, device: str) -> str:
    """Needs linear layers: in float32 on a CPU with FBGEMM, else torchao."""
    from mmprof.tracer.lever_quantization import why_not_quantized  # noqa: PLC0415  (torch: seconds)

    return "" if _by_fbgemm(workload) else why_not_quantized(workload, device)


def _by_fbgemm(workload: Workload) -> bool:
    """Whether a CPU's own kernel fits most of the weights: without a compiler torchao's products are slower than float32."""
    from mmprof.tracer.quantization.everywhere import candidate_named, fitting  # noqa: PLC0415
    from mmprof.tracer.quantization.recording import linear_layers  # noqa: PLC0415

    fits = fitting(workload, candidate_named(_CANDIDATE), heads=True).values()
    weights = sum(layer.weight.numel() for layer in linear_layers(workload).values())
    return 2 * sum(layer.weight.numel() for layer in fits) > weights


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep the weights in int8, and round each call's activations to int8."""
    from mmprof.tracer.lever import NotApplicableError  # noqa: PLC0415
    from mmprof.tracer.lever_quantization import NO_TORCHAO, has_torchao, quantized  # noqa: PLC0415
    from mmprof.tracer.quantization.everywhere import candidate_named, multiplying  # noqa: PLC0415

    if _by_fbgemm(workload):
        applied = multiplying(workload, candidate_named(_CANDIDATE), heads=True)
    elif has_torchao():  # another lever may have changed the dtype since `applies` was asked
        applied = quantized(workload, _TORCHAO)
    else:
        raise NotApplicableError(NO_TORCHAO)
    with applied as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers bound by compute multiply at the peak of int8; on a CPU, those with few rows read 8 bits a weight."""
    from mmprof.analyzers.whatif.precision import int8_products  # noqa: PLC0415  (polars: 100 ms)
    from mmprof.analyzers.whatif.weights import INT8_DYNAMIC_ENTRY_NS, Weights, small_weights  # noqa: PLC0415

    return (
        small_weights(replay, Weights(entry_ns=INT8_DYNAMIC_ENTRY_NS))
        if replay.view.is_host
        else int8_products(replay)
    )


LEVER: Final = Lever(
    id="quantization_dynamic",
    layer="compression",
    summary="int8 products of linear layers: weights once, activations at each call",
    exactness="lossy",
    risk="high",
    cost="quality, the time to quantize, and memory: the weights as they were are kept",
    hurts="quality: on a CPU activations have 7 bits (SmolLM2: perplexity + 8 %); elsewhere decode without torch.compile",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what a random Seamless of 166 M parameters showed, 7.6e-2 (a random Llama shows 4.3e-1: too much); judge quality on a
    # trained model
    budget=0.16,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "autoquant",
        "fp16_weights",
        "head_dtype",
        "linear_layout",
        "quantization_weight_only",
    ),
)
