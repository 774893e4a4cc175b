"""float16 weights of linear layers, on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_CANDIDATE: Final = "fp16 weights"


def applies(workload: Workload, device: str) -> str:
    """Needs float32 linear layers on a CPU: activations in float16 are for accelerators, where `dtype` halves all."""
    from mmprof.tracer.quantization.everywhere import (  # noqa: PLC0415  (torch: seconds)
        candidate_named,
        why_none_fits,
    )

    if not device.startswith("cpu"):
        return f"a kernel of CPUs; on {device} the lever dtype halves activations as well"
    return why_none_fits(workload, candidate_named(_CANDIDATE), heads=True)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep the weights in float16; multiply and add in float32."""
    from mmprof.tracer.quantization.everywhere import candidate_named, multiplying  # noqa: PLC0415

    with multiplying(workload, candidate_named(_CANDIDATE), heads=True) as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers with few rows read 16 bits a weight."""
    from mmprof.analyzers.whatif.weights import FP16_ENTRY_NS, Weights, small_weights  # noqa: PLC0415  (polars: 100 ms)

    return small_weights(replay, Weights(bits=16, entry_ns=FP16_ENTRY_NS))


LEVER: Final = Lever(
    id="fp16_weights",
    layer="compression",
    summary="float16 weights of linear layers, output heads too; activations and sums stay float32",
    exactness="lossy",
    risk="low",
    cost="11 bits of mantissa in the weights, and the time to convert",
    hurts="weights beyond 65,504, which are cut off; layers with many rows gain little",
    applies=applies,
    apply=apply,
    predict=predict,
    # about twice what a random Llama of 32 M parameters showed, 4.2e-3
    budget=0.01,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "autoquant",
        "linear_layout",
        "quantization_int4",
        "float8",
        "quantization_dynamic",
        "quantization_weight_only",
    ),
)
