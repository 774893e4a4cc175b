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
    """Needs a model of transformers that generates; whether its cache grows shows a run."""
    from mmprof.tracer.lever_models import generators  # noqa: PLC0415  (transformers: seconds)

    if generators(workload):
        return ""
    return "no model of transformers that generates, so no key-value cache that grows"


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
    cost="up to half as much memory again for keys and values",
    hurts="nothing; compiled code goes on copying, and so does beam search, which moves the cache at each step",
    applies=applies,
    apply=apply,
    predict=predict,
    conflicts=(
        "static_kv_cache",
        "cuda_graphs",
        "kv_cache_int8",
    ),  # the caches of these do not grow, or keep other numbers
)
