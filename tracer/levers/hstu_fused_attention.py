"""HSTU's pointwise attention in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.models.hstu import PointwiseAttention
    from mmprof.tracer.models.hstu_blocks import BlockedAttention
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs attention that weights each pair on its own."""
    return "" if _attentions(workload) else "no pointwise attention (without a softmax)"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Compute each attention in blocks of queries, the buckets of the time bias once for all layers."""
    from mmprof.tracer.lever_models import attribute  # noqa: PLC0415
    from mmprof.tracer.models.hstu_blocks import BlockedAttention  # noqa: PLC0415

    shared = BlockedAttention()
    with ExitStack() as patched:
        for attention in _attentions(workload):
            patched.enter_context(attribute(attention, "forward", shared.forward_of(attention)))
        yield replace(workload, run=_forgetting(workload.run, shared))


def _forgetting(run: Callable[[], object], shared: BlockedAttention) -> Callable[[], object]:
    def forgetful() -> object:
        try:
            return run()
        finally:
            shared.forget()

    return forgetful


def _attentions(workload: Workload) -> list[PointwiseAttention]:
    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.models.hstu import PointwiseAttention  # noqa: PLC0415

    return [module for module in modules_of(workload) if isinstance(module, PointwiseAttention)]


def predict(replay: Replay) -> Predicted:
    """Nothing is padded, scores stay in cache, blocks leave most of the masked half out."""
    from mmprof.analyzers.whatif.pointwise import blocked_attention  # noqa: PLC0415  (polars: 100 ms)

    return blocked_attention(replay)


LEVER: Final = Lever(
    id="hstu_fused_attention",
    layer="algorithm",
    summary="HSTU's pointwise attention in blocks that stay in cache, without padding and without most of the masked half",
    exactness="reassociation",
    risk="low",
    cost="none",
    hurts="on an accelerator, batches of many short sequences: each sequence is launched on its own",
    applies=applies,
    apply=apply,
    predict=predict,
)
