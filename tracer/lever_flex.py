"""flex_attention in models of transformers: which can have it, where torch's kernel computes it, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from mmprof.tracer.lever_compiling import why_no_compiler
from mmprof.tracer.lever_models import modules_of, transformers_models

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mmprof.tracer.workload import Workload

FLEX: Final = "flex_attention"

WRONG_WIDTHS: Final = (8, 16)
"""Widths of a head for which torch's CPU kernel (2.13.0, AVX-512) reads memory that it never wrote.

With that memory full of NaNs, 8, 24 and 200 keys gave a wrong output in each of 5 to 20 calls; none of as many with 15, 16, 20 and 32 keys,
nor with heads of 12, 24, 32 and 64. The lengths of a loop are all of these.
"""


def models(workload: Workload) -> list[PreTrainedModel]:
    """The models of transformers that have flex_attention, and do not use it yet."""
    return [
        model
        for model in transformers_models(workload)
        if getattr(model, "_supports_flex_attn", False)
        and getattr(model.config, "_attn_implementation", None) != FLEX
    ]


def why_no_mask(workload: Workload) -> str:
    """Why no attention of a workload can be flex_attention."""
    from mmprof.tracer.models.diffusion_blocks import Attention  # noqa: PLC0415  (as light as a family's model is)
    from mmprof.tracer.models.hstu import PointwiseAttention  # noqa: PLC0415

    kinds = {type(module) for module in modules_of(workload)}
    if PointwiseAttention in kinds:
        return (
            "pointwise attention adds up SiLU of the scores, which may be negative; flex_attention's "
            "weights are a softmax, positive with the sum 1 (hstu_fused_attention skips what the mask leaves out)"
        )
    if Attention in kinds:
        return "its attention has no mask, so no block could be skipped: sdpa has a kernel for it"
    return "no model of transformers with flex_attention, or all use it already"


def why_not_compiled(found: Sequence[PreTrainedModel], device: str) -> str:
    """Why torch's kernel cannot be used for models on a device; empty where it can."""
    if not device.startswith("cpu"):
        return ""
    if any(map(_has_relative_positions, found)):
        return (
            "on a CPU flex_attention ends the process in an encoder with relative positions "
            "(invalid heap; pytorch/pytorch#153145)"
        )
    wrong = [width for model in found for width in _head_widths(model) if width in WRONG_WIDTHS]
    if wrong:
        return (
            f"heads of {wrong[0]} channels: torch's CPU kernel reads memory that it never wrote for such heads "
            "where 8 keys are left over from multiples of 16, and the outputs differ"
        )
    return why_no_compiler(device)


def _has_relative_positions(model: nn.Module) -> bool:
    return any(hasattr(module, "distance_embedding") for module in model.modules())


def _head_widths(model: nn.Module) -> list[int]:
    found: list[object] = [getattr(module, "head_dim", None) for module in model.modules()]
    return [width for width in found if isinstance(width, int)]


@contextmanager
def switched(model: PreTrainedModel) -> Iterator[None]:
    """Let a model's attention be flex_attention; what transformers compiles for it is dropped at the end."""
    before = model.config._attn_implementation  # noqa: SLF001  (transformers has no public name for it)
    model.set_attn_implementation(FLEX)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        torch.compiler.reset()
