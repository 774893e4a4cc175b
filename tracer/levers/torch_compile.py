"""torch.compile of the decode step, or of the whole model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import EVERY, Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs a model, a compiler, and a loop that calls what is compiled."""
    from mmprof.tracer.lever_compiling import why_not_compiled  # noqa: PLC0415  (torch: seconds)

    return why_not_compiled(workload, device)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Compile the decode step where the model generates (it needs a static cache, so it gets one), else each model."""
    from mmprof.tracer.compile_facts import telling_compilations  # noqa: PLC0415
    from mmprof.tracer.lever_compiling import compiled  # noqa: PLC0415

    with compiled(workload, mode="default") as changed:
        yield telling_compilations(changed)


def predict(replay: Replay) -> Predicted:
    """Elementwise work fuses, and calls cost the host less."""
    from mmprof.analyzers.whatif.fusion import compiled  # noqa: PLC0415  (polars: 100 ms)

    return compiled(replay)


LEVER: Final = Lever(
    id="torch_compile",
    layer="system",
    summary="Fused code for the decode step, or the whole model, by torch.compile",
    exactness="reassociation",
    risk="medium",
    cost="seconds to minutes of compilation, again for every new shape",
    hurts="changing shapes recompile; short runs do not pay the compilation back",
    applies=applies,
    apply=apply,
    predict=predict,
    after=(EVERY,),
    conflicts=("cuda_graphs", "static_kv_cache"),  # its decode steps have a static cache
)
