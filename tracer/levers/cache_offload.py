"""A key-value cache in the memory of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.tracer.lever_models import GenerationOptions
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs CUDA, which transformers' copies name, and a cache that only the layers' own attention reads."""
    from mmprof.tracer.lever_models import generators  # noqa: PLC0415  (transformers: seconds)

    if device.startswith("cpu"):
        return "on a CPU the cache lies in the host's memory already"
    if not device.startswith("cuda"):
        return f"transformers brings the layers back on streams of CUDA, not of {device}"
    found = generators(workload)
    if not found:
        return "no model of transformers that generates, so no key-value cache to offload"
    if all(getattr(model.config, "is_encoder_decoder", False) for model in found):
        # it asks the cache of cross-attention for its tensors without `update`, which alone brings them back
        return "the decoder reads its cross-attention's cache where it lies, which would be on the host"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Keep on the device the layer that runs and the next one; the others are copied back on a stream of their own."""
    from mmprof.tracer.lever_models import generating_with  # noqa: PLC0415

    with generating_with(workload, _offloaded) as changed:
        yield changed


def _offloaded(options: GenerationOptions) -> None:
    options.cache_implementation = "offloaded"


LEVER: Final = Lever(
    id="cache_offload",
    layer="application",
    summary="Keys and values lie in the host's memory, but for those of two layers: it saves memory of the device, not time",
    exactness="identical",
    risk="medium",
    cost="the whole cache crosses the bus twice a step",
    hurts="speed: use it where the cache, not the weights, fills the device (long inputs, large batches)",
    applies=applies,
    apply=apply,
    unseen="it saves memory of the device, not time",
    conflicts=(
        "static_kv_cache",
        "torch_compile",
        "cuda_graphs",
        "kv_cache_int8",
    ),  # theirs is another cache
)
