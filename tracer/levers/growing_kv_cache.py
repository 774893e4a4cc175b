"""A key-value cache that grows in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_NO_CACHE: Final = "no key-value cache of transformers grows in a request"


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a model of transformers that generates without beams; whether its cache grows shows a run."""
    from mmprof.tracer.lever_models import beams_of, generators  # noqa: PLC0415  (transformers: seconds)

    found = generators(workload)
    if not found:
        return "no model of transformers that generates, so no key-value cache that grows"
    if all(beams_of(model) > 1 for model in found):
        return "beam search moves the whole cache at each step"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Write each token behind the others, in room that is kept for it."""
    from mmprof.tracer.lever_caches import with_room  # noqa: PLC0415
    from mmprof.tracer.lever_models import requiring  # noqa: PLC0415

    appended: list[object] = []
    with with_room(appended):
        yield requiring(workload, appended, _NO_CACHE)


def predict(replay: Replay) -> Predicted:
    """Appending writes one token instead of copying all."""
    from mmprof.analyzers.whatif.caches import growing_cache  # noqa: PLC0415  (polars: 100 ms)

    return growing_cache(replay)


LEVER: Final = Lever(
    id="growing_kv_cache",
    layer="application",
    summary="Key-value cache with room behind it: a token is appended in place, and attention reads no more than there is",
    exactness="reassociation",
    risk="low",
    cost="for keys and values half as much memory again, room for 64 tokens at least",
    hurts="code that holds states of a cache while it crops and refills that; compiled code goes on copying",
    applies=applies,
    apply=apply,
    predict=predict,
    # the caches of these do not grow, keep other numbers, or lie elsewhere
    conflicts=(
        "static_kv_cache",
        "torch_compile",
        "cuda_graphs",
        "kv_cache_int8",
        "cache_offload",
        "continuous_batching",
    ),
)
