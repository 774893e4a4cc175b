"""A key-value cache that is allocated once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.lever_models import GenerationOptions
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a model of transformers that generates with a cache."""
    from mmprof.tracer.lever_models import generators  # noqa: PLC0415  (transformers: seconds)

    found = generators(workload)
    if not found:
        return "no model of transformers that generates, so no key-value cache to replace"
    if not any(getattr(model, "_can_compile_fullgraph", False) for model in found):
        # The same flag that transformers asks before it allows a static cache.
        return f"{type(found[0]).__name__} does not support a static cache"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Allocate the cache for the longest sequence; without the compilation that transformers adds on accelerators."""
    from mmprof.tracer.lever_models import generating_with  # noqa: PLC0415

    with generating_with(workload, _static) as changed:
        yield changed


def _static(options: GenerationOptions) -> None:
    options.cache_implementation = "static"
    options.disable_compile = options.compile_config is None  # unless another lever compiles


def predict(replay: Replay) -> Predicted:
    """Appending writes one token instead of copying all."""
    from mmprof.analyzers.whatif.caches import static_cache  # noqa: PLC0415  (polars: 100 ms)

    return static_cache(replay)


LEVER: Final = Lever(
    id="static_kv_cache",
    layer="application",
    summary="Key-value cache allocated once and written in place",
    exactness="reassociation",
    risk="low",
    cost="memory of the longest sequence from the first token on",
    hurts="attends to the whole capacity: alone it gains nothing on short requests; dearer to reorder by beam",
    applies=applies,
    apply=apply,
    predict=predict,
)
