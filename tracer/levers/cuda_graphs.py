"""CUDA graphs: the launches of a step replayed as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import EVERY, Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs CUDA or ROCm, and what torch.compile needs, which captures the graphs."""
    from mmprof.tracer.lever_compiling import why_not_compiled  # noqa: PLC0415  (torch: seconds)

    if not device.startswith("cuda"):
        return f"needs a CUDA device: a graph replays launches, and {device} has none"
    return why_not_compiled(workload, device)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Compile with the mode whose code is captured and replayed."""
    from mmprof.tracer.lever_compiling import compiled  # noqa: PLC0415

    with compiled(workload, mode="reduce-overhead") as changed:
        yield changed


def predict(replay: Replay) -> Predicted:
    """Elementwise work fuses, and the launches of a step become one."""
    from mmprof.analyzers.whatif.fusion import graphed  # noqa: PLC0415  (polars: 100 ms)

    return graphed(replay)


LEVER: Final = Lever(
    id="cuda_graphs",
    layer="system",
    summary="Compiled steps whose launches are replayed as one CUDA graph",
    exactness="reassociation",
    risk="medium",
    cost="compilation and capture; a private pool of memory for each shape",
    hurts="a host sync, a changing shape or a tensor of the host in the step prevents the capture",
    applies=applies,
    apply=apply,
    predict=predict,
    after=(EVERY,),
    conflicts=("torch_compile", "static_kv_cache"),  # its decode steps have a static cache
)
