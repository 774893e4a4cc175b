"""torch.compile of repeated layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import EVERY, Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs a compiler, and layers that the model repeats."""
    from mmprof.tracer.lever_compiling import why_no_compiler  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.lever_regions import regions  # noqa: PLC0415

    if not regions(workload):
        return "no list of equal layers"
    return why_no_compiler(device)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Compile each repeated layer, of one with a cache its parts without; the loop, the cache and the rest stay eager."""
    from mmprof.tracer.lever_regions import compiled_regions  # noqa: PLC0415

    with compiled_regions(workload) as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Calls within the layers cost the host less; entering compiled code costs it something."""
    from mmprof.analyzers.whatif.regions import compiled_layers  # noqa: PLC0415  (polars: 100 ms)

    return compiled_layers(replay)


LEVER: Final = Lever(
    id="compile_regional",
    layer="system",
    summary="Fused code for the layers that a model repeats, by torch.compile; works in beam search and with a growing cache",
    exactness="reassociation",
    risk="medium",
    cost="seconds of compilation for each kind of layer, less than for the whole model",
    hurts="guards are checked at each layer, so that small layers gain little; short runs do not pay the compilation back",
    applies=applies,
    apply=apply,
    predict=predict,
    after=(EVERY,),
    conflicts=("cuda_graphs", "torch_compile"),
)
