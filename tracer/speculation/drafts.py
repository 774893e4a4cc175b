"""Guesses that the whole model checks in one pass: from the text so far, or from a smaller model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import DynamicCache

from mmprof.tracer.speculation.loop import Guess, lengthened

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmprof.tracer.speculation.loop import Step


@dataclass(frozen=True, slots=True)
class Checked:
    """Guesses of any origin, checked by the whole model.

    Attributes:
        guess: Token ids [guessed] that follow token ids [tokens]; not more than a number.
    """

    guess: Callable[[Tensor, int], Tensor]

    def __call__(self, step: Step) -> Guess:
        """Guess, and check."""
        tokens = self.guess(step.ids[0], step.room)
        inputs = lengthened(step.inputs, tokens[None])
        inputs.pop("logits_to_keep", None)
        return Guess(tokens, cast("Any", step.model)(**inputs).logits)


@dataclass(frozen=True, slots=True)
class PromptLookup:
    """What followed the last tokens where they stood before.

    Attributes:
        length: Most tokens to guess.
        ngram: Most tokens that have to be equal; fewer, down to one, where so many are not found.
    """

    length: int
    ngram: int

    def __call__(self, ids: Tensor, most: int) -> Tensor:
        """Token ids [guessed], from the latest place; none where the last token is new."""
        for size in range(min(self.ngram, len(ids) - 1), 0, -1):
            places = (ids[:-1].unfold(0, size, 1) == ids[-size:]).all(1).nonzero()
            if len(places):
                start = int(places[-1]) + size
                return ids[start : start + min(self.length, most)]
        return ids[:0]


class Assistant:
    """A smaller model that reads along with a cache of its own, and guesses what follows.

    Args:
        model: A decoder-only model with the same tokens.
        length: Most tokens to guess.
    """

    def __init__(self, model: nn.Module, length: int) -> None:
        self.length = length
        self._model: Any = model
        self._read: Tensor | None = None
        self._cache = DynamicCache()

    def __call__(self, ids: Tensor, most: int) -> Tensor:
        """Token ids [guessed]: the likeliest one after the other."""
        self._forget(ids)
        text, known = ids, len(ids)
        for _ in range(min(self.length, most)):
            unread = text[self._cache.get_seq_length() :]
            output = self._model(input_ids=unread[None], past_key_values=self._cache)
            text = torch.cat([text, output.logits[0, -1:].argmax(-1)])
        self._read = text
        return text[known:]

    def _forget(self, ids: Tensor) -> None:
        """Keep what the cache holds of the common beginning of both texts, and leave the last token to be read."""
        common = 0 if self._read is None else _common(self._read, ids)
        if not common:
            self._cache = DynamicCache()
        kept = min(common, len(ids) - 1, self._cache.get_seq_length())
        self._cache.crop(kept - self._cache.get_seq_length())


def _common(one: Tensor, other: Tensor) -> int:
    """Tokens at the beginning of both."""
    length = min(len(one), len(other))
    equal = one[:length] == other[:length]
    return int(equal.long().cumprod(0).sum())
