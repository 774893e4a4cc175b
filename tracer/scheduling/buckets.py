"""Requests of about equal lengths in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from mmprof.analyzers.whatif.batches import buckets

if TYPE_CHECKING:
    from torch import Tensor

    from mmprof.tracer.scheduling.serving import Serving


@dataclass(frozen=True, slots=True)
class Bucketing:
    """A schedule of one batch for each bucket.

    Attributes:
        most: Requests in a batch, at most.
        padding: Share of a batch's token positions that may belong to no request.
    """

    most: int
    padding: float

    def __call__(self, serving: Serving) -> None:
        """Decode one bucket after the other."""
        lengths = [(each.prompt.shape[1], each.new_tokens) for each in serving.requests]
        for numbers in buckets(lengths, most=self.most, padding=self.padding):
            _decode(serving, numbers)


def _decode(serving: Serving, numbers: Sequence[int]) -> None:
    """Decode a batch until its longest request has its tokens; the others run along."""
    ids, mask = left_padded([serving.requests[number].prompt[0] for number in numbers])
    positions = positions_of(mask)
    cache = DynamicCache(config=serving.config)
    serving.phases.enter("prefill")
    for step in range(max(map(serving.left, numbers))):
        if step:
            serving.phases.enter("decode", step - 1)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            positions = positions[:, -1:] + 1
        logits = serving.forward(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache
        )
        ids = serving.choose(numbers, logits)[:, None]


def left_padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Token ids [rows, tokens] that end together, and which of them are no padding, as 1 and 0."""
    shape = len(prompts), max(map(len, prompts))
    ids, mask = prompts[0].new_zeros(shape), prompts[0].new_zeros(shape)
    for row, prompt in enumerate(prompts):
        ids[row, -len(prompt) :] = prompt
        mask[row, -len(prompt) :] = 1
    return ids, mask


def positions_of(mask: Tensor) -> Tensor:
    """Positions [rows, tokens] that count from each row's first token; padding has 0."""
    return (mask.cumsum(1) - 1).clamp(min=0)
