"""int4 weights of linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_CANDIDATE: Final = "int4 weights"
_ON_CUDA: Final = "Int4WeightOnlyConfig"
_PACKING: Final = "tile_packed_to_4d"


def applies(workload: Workload, device: str) -> str:
    """Needs linear layers with sides that can be packed; on CUDA torchao, and bfloat16 weights."""
    from mmprof.tracer.lever_models import has_float32  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.lever_quantization import why_not_quantized  # noqa: PLC0415
    from mmprof.tracer.quantization.everywhere import candidate_named, why_none_fits  # noqa: PLC0415

    if device.startswith("cpu"):
        return why_none_fits(workload, candidate_named(_CANDIDATE), heads=False)
    if not device.startswith("cuda"):
        return f"no int4 kernel for {device}"
    if has_float32(workload):
        return "its CUDA kernel multiplies bfloat16: apply dtype first"
    return why_not_quantized(workload, device)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep the weights in int4, with a scale and a minimum for each group; activations in bfloat16."""
    from mmprof.tracer.lever_quantization import quantizable, quantized  # noqa: PLC0415
    from mmprof.tracer.quantization.everywhere import candidate_named, multiplying  # noqa: PLC0415

    if any(layer.weight.is_cuda for layer in quantizable(workload)):
        applied = quantized(workload, _ON_CUDA, int4_packing_format=_PACKING)
    else:
        applied = multiplying(workload, candidate_named(_CANDIDATE), heads=False)
    with applied as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers with few rows read 4 bits a weight."""
    from mmprof.analyzers.whatif.weights import INT4_ENTRY_NS, Weights, small_weights  # noqa: PLC0415  (polars: 100 ms)

    # without AVX-512 a CPU unpacks four bits in the time that it reads sixteen in
    return small_weights(replay, Weights(bits=4, bits_on_cpu=16, entry_ns=INT4_ENTRY_NS))


LEVER: Final = Lever(
    id="quantization_int4",
    layer="compression",
    summary="int4 weights of linear layers where few rows meet them (decoding), in groups of 32",
    exactness="lossy",
    risk="high",
    cost="quality, and the time to quantize",
    hurts="quality of models not trained for it: judge it on a trained model; without AVX-512 unpacking costs what reading saves",
    applies=applies,
    apply=apply,
    predict=predict,
    # ten times that of int8, for a tenth of its steps: on random weights more than one in ten is lost, and tokens with it
    budget=0.5,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "autoquant",
        "linear_layout",
        "fp16_weights",
        "float8",
        "quantization_dynamic",
        "quantization_weight_only",
    ),
)
