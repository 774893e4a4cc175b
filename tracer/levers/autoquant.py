"""The fastest way to multiply within an error, for each linear layer and shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

LAYER_ERROR: Final = 0.01
"""Relative L2 error that the output of one layer may have: at three times this, a random Llama changed half of its tokens."""


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (each candidate asks for its device)
    """Needs a linear layer; which candidate is faster shows a run."""
    from mmprof.tracer.quantization.lever_tuning import why_nothing_to_tune  # noqa: PLC0415  (torch: seconds)

    return why_nothing_to_tune(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Record a request, time the candidates on its linear layers, and keep the fastest."""
    from mmprof.tracer.quantization.candidates import EXACT, LOSSY  # noqa: PLC0415
    from mmprof.tracer.quantization.lever_tuning import tuning  # noqa: PLC0415

    with tuning(workload, (*EXACT, *LOSSY), budget=LAYER_ERROR, lever=LEVER.id) as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Layers with few rows read 16 bits a weight, the most that one of the candidates for them reads."""
    from mmprof.analyzers.whatif.weights import FP16_ENTRY_NS, Weights, small_weights  # noqa: PLC0415  (polars: 100 ms)

    return small_weights(replay, Weights(bits=16, entry_ns=FP16_ENTRY_NS, where_faster=True))


LEVER: Final = Lever(
    id="autoquant",
    layer="compression",
    summary="Each linear layer, at each shape, in the fastest of several precisions and layouts that keeps an error",
    exactness="lossy",
    risk="medium",
    cost="some requests to measure, and memory of a second copy of the weights",
    hurts="requests of other lengths: a shape that was not measured runs as before",
    applies=applies,
    apply=apply,
    predict=predict,
    # as int8 weights have, the coarsest candidate that keeps the error of a layer
    budget=0.1,
    after=("dtype",),  # the products keep the dtype that the weights had
    conflicts=(
        "linear_layout",
        "fp16_weights",
        "quantization_int4",
        "float8",
        "quantization_dynamic",
        "quantization_weight_only",
    ),
)
