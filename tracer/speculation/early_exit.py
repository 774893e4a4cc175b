"""LayerSkip: the first layers of a model guess, and its other layers check, on one key-value cache.

arXiv 2404.16710, section 4.3: what the first layers made of a guessed token, their keys and values and their hidden state,
is used again when it is checked, so that checking costs the other layers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from transformers import DynamicCache

from mmprof.tracer.lever_models import attribute
from mmprof.tracer.speculation.loop import Guess, following

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from mmprof.tracer.speculation.loop import Inputs, Step


class Stack(Protocol):
    """The part of a decoder-only model that its layers are in; calling it gives hidden states."""

    layers: Sequence[nn.Module]
    norm: Callable[[Tensor], Tensor]


def stack_of(model: PreTrainedModel) -> Stack | None:
    """The stack of a model; None where it is built in another way."""
    found = cast("Callable[[], object]", model.get_decoder)()
    known = all(hasattr(found, name) for name in ("layers", "norm", "embed_tokens"))
    return cast("Stack", found) if known else None


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """Guesses with the first layers.

    Attributes:
        layers: How many of them.
        length: Tokens to guess.
    """

    layers: int
    length: int

    def __call__(self, step: Step) -> Guess:
        """Guess up to `length` tokens, and check them."""
        stack = stack_of(step.model)
        assert stack is not None
        tokens, hidden, inputs = self._drafted(step, stack)
        logits = self._checked(step, stack, torch.cat(hidden, dim=1), inputs)
        return Guess(torch.cat(tokens, dim=1)[0] if tokens else step.ids.new_empty(0), logits)

    def _drafted(self, step: Step, stack: Stack) -> tuple[list[Tensor], list[Tensor], Inputs]:
        """Guessed tokens [1, 1] each; hidden states [1, 1, width] of the tokens to check; arguments that read the last."""
        model: Any = step.model
        tokens: list[Tensor] = []
        inputs = step.inputs
        with using(stack, stack.layers[: self.layers]) as hidden:
            for _ in range(min(self.length, step.room)):
                tokens.append(model(**inputs).logits[:, -1:].argmax(-1))
                inputs = following(inputs, tokens[-1])
            # Nothing follows the last guess that would have to be guessed: no head.
            cast("Any", stack)(**_without_head(inputs))
        return tokens, hidden, inputs

    def _checked(self, step: Step, stack: Stack, hidden: Tensor, last: Inputs) -> Tensor:
        """Logits [1, tokens, vocabulary] that the other layers make of hidden states [1, tokens, width]."""
        back = torch.arange(1 - hidden.shape[1], 1, device=hidden.device)
        inputs = {
            **last,
            "input_ids": None,
            "inputs_embeds": hidden,
            "position_ids": last["position_ids"] + back,
            "past_key_values": DeepCache(step.cache, self.layers),
        }
        inputs.pop("logits_to_keep", None)
        with using(stack, stack.layers[self.layers :]):
            return cast("Tensor", cast("Any", step.model)(**inputs).logits)


def _without_head(inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if name != "logits_to_keep"}


class DeepCache(DynamicCache):
    """A key-value cache as its deeper layers see it: the first layers have read further than they.

    Args:
        shared: The cache of all layers, whose keys and values it shares.
        first: The first of the deeper layers.
    """

    def __init__(self, shared: DynamicCache, first: int) -> None:
        vars(self).update(vars(shared))
        self._first = first

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that a layer has read."""
        return int(super().get_seq_length(max(layer_idx, self._first)))

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Length and offset of a mask."""
        return super().get_mask_sizes(query_length, max(layer_idx, self._first))


@contextmanager
def using(stack: Stack, layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Let a stack use some of its layers only.

    Yields:
        The hidden states [1, tokens, width] behind the last of them, for each call so far.
    """
    hidden: list[Tensor] = []
    norm = stack.norm

    def noted(states: Tensor) -> Tensor:
        hidden.append(states)
        return norm(states)

    with ExitStack() as patched:
        patched.enter_context(attribute(stack, "layers", layers))
        patched.enter_context(attribute(stack, "norm", noted))
        yield hidden
