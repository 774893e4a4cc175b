"""Attention by torch's flex_attention, which skips the blocks that a mask leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs attention with a softmax and a mask in a model of transformers, and a kernel that computes it."""
    from mmprof.tracer.lever_flex import models, why_no_mask, why_not_compiled  # noqa: PLC0415  (torch: seconds)

    found = models(workload)
    return why_not_compiled(found, device) if found else why_no_mask(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Switch the models; the kernel is compiled at the first request."""
    from mmprof.tracer.lever_flex import models, switched  # noqa: PLC0415

    with ExitStack() as undone:
        for model in models(workload):
            undone.enter_context(switched(model))
        yield workload


def predict(replay: Replay) -> Predicted:
    """What is written out as product, softmax and product becomes one kernel."""
    from mmprof.analyzers.whatif.attention import fused_attention  # noqa: PLC0415  (polars: 100 ms)

    return fused_attention(replay)


LEVER: Final = Lever(
    id="flex_attention",
    layer="system",
    summary="Attention in one kernel, compiled for the model's mask: what the mask leaves out is not computed",
    exactness="reassociation",
    risk="high",
    cost="a C++ or Triton compiler; seconds of compilation for each kind of mask",
    # torch 2.13 generates C++ with an undeclared variable (cur_kvSplitSize0) for Chameleon's three prompts padded at the left
    hurts="short sequences and single queries: on a CPU a tiny Llama takes 1.5 times as long as with eager attention; some masks of padded batches do not compile on a CPU",
    applies=applies,
    apply=apply,
    predict=predict,
    # its mask of blocks is no tensor, which the static cache of a compiled step expects
    conflicts=("sdpa", "torch_compile"),
)
