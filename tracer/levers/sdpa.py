"""Attention by torch's scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs an attention with an eager and an sdpa form."""
    if _eager_models(workload) or _eager_modules(workload):
        return ""
    return (
        "no attention with softmax that runs in its eager form and can be switched to "
        "scaled_dot_product_attention"
    )


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Switch every attention that can be switched."""
    from mmprof.tracer.lever_models import attribute  # noqa: PLC0415  (transformers: seconds)

    with ExitStack() as switched:
        for module in _eager_modules(workload):
            switched.enter_context(attribute(module, "kind", "sdpa"))
        for model in _eager_models(workload):
            switched.callback(model.set_attn_implementation, "eager")
            model.set_attn_implementation("sdpa")
        yield workload


def _eager_models(workload: Workload) -> list[PreTrainedModel]:
    from mmprof.tracer.lever_models import transformers_models  # noqa: PLC0415

    return [
        model
        for model in transformers_models(workload)
        if getattr(model, "_supports_sdpa", False)
        and getattr(model.config, "_attn_implementation", None) == "eager"
    ]


def _eager_modules(workload: Workload) -> list[nn.Module]:
    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415
    from mmprof.tracer.models.diffusion_blocks import Attention  # noqa: PLC0415

    return [
        module
        for module in modules_of(workload)
        if isinstance(module, Attention) and module.kind == "eager"
    ]


def predict(replay: Replay) -> Predicted:
    """What is written out as product, softmax and product becomes one operator."""
    from mmprof.analyzers.whatif.attention import fused_attention  # noqa: PLC0415  (polars: 100 ms)

    return fused_attention(replay)


LEVER: Final = Lever(
    id="sdpa",
    layer="system",
    summary="Attention in one fused operator, without the matrix of scores",
    exactness="reassociation",
    risk="low",
    cost="none",
    hurts="short sequences gain little; a padding mask keeps the flash kernel out",
    applies=applies,
    apply=apply,
    predict=predict,
)
