"""A key-value cache in int8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a model of transformers that generates; whether it keeps a growing cache shows a run."""
    from mmprof.tracer.lever_models import generators  # noqa: PLC0415  (transformers: seconds)

    if generators(workload):
        return ""
    return "no model of transformers that generates, so no key-value cache to round"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep keys and values in int8, one scale a head and token; attend in the dtype of the activations."""
    from mmprof.tracer.quantization.int8_cache import int8_caches  # noqa: PLC0415

    with int8_caches(workload) as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """No time is gained: the reason says what it costs."""
    from mmprof.analyzers.whatif.caches import rounded_cache  # noqa: PLC0415  (polars: 100 ms)

    return rounded_cache(replay)


LEVER: Final = Lever(
    id="kv_cache_int8",
    layer="compression",
    summary="Keys and values kept in int8: a quarter of the memory of float32, half of that of bfloat16",
    exactness="lossy",
    risk="medium",
    cost="quality, and time: the whole cache is restored at each step; it saves memory, not time",
    hurts="speed: use it where the cache, not the weights, fills the memory (long inputs, large batches)",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what a random Llama of 32 M parameters showed, 7.2e-2; judge quality on a trained model
    budget=0.15,
    conflicts=("static_kv_cache", "cuda_graphs"),  # their cache cannot grow
)
