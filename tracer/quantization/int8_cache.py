"""A key-value cache that keeps int8: a layer for the caches of transformers, which needs no further package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

from mmprof.tracer.lever_models import attribute, generators, requiring

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

_LARGEST: Final = 127
_PREPARE: Final = "_prepare_cache_for_generation"
_NO_CACHE: Final = "its loop is not transformers' generate with a growing key-value cache"


class Rounded:
    """Keys or values of a layer, in int8 with one scale for each head and token.

    Args:
        states: Batch, heads, tokens, channels.
    """

    def __init__(self, states: Tensor) -> None:
        self.numbers, self.scales = rounded(states)

    def append(self, states: Tensor) -> None:
        """Add tokens; those kept already are not rounded again."""
        numbers, scales = rounded(states)
        self.numbers = torch.cat([self.numbers, numbers], dim=-2)
        self.scales = torch.cat([self.scales, scales], dim=-2)

    def change(self, function: Callable[[Tensor], Tensor]) -> None:
        """Do the same to numbers and scales."""
        self.numbers, self.scales = function(self.numbers), function(self.scales)

    def restored(self) -> Tensor:
        """The states, rounded."""
        return self.numbers * self.scales


def rounded(states: Tensor) -> tuple[Tensor, Tensor]:
    """States in int8, and the scale of each head and token, in their own precision."""
    scales = states.abs().amax(-1, keepdim=True) / _LARGEST
    scales = torch.where(scales > 0, scales, 1.0)
    return (states / scales).round().to(torch.int8), scales


class Int8Layer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """A growing layer that keeps int8, and restores all of it for each attention.

    The first tokens that it gets are attended to as they are; they are rounded for the steps that follow.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[Rounded] = []

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with nothing."""
        super().lazy_initialization(key_states, value_states)
        self.kept = []

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens, and return all: the new ones as they came."""
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        states = (key_states, value_states)
        if not self.kept:
            self.kept = [Rounded(each) for each in states]
            return states
        before = [each.restored() for each in self.kept]
        for kept, new in zip(self.kept, states, strict=True):
            kept.append(new)
        keys, values = (
            torch.cat([old, new], dim=-2) for old, new in zip(before, states, strict=True)
        )
        return keys, values

    def get_seq_length(self) -> int:
        """Tokens that are kept."""
        return self.kept[0].numbers.shape[-2] if self.is_initialized and self.kept else 0

    def reset(self) -> None:
        """Forget all."""
        self.kept = []
        super().reset()

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; their number is given as a negative one."""
        if tokens_to_remove < 0:
            self._change(lambda each: each[..., :tokens_to_remove, :])

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Follow the beams."""
        self._change(lambda each: each.index_select(0, beam_idx.to(each.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each element of the batch."""
        self._change(lambda each: each.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some elements of the batch."""
        self._change(lambda each: each[indices, ...])

    def _change(self, function: Callable[[Tensor], Tensor]) -> None:
        for each in self.kept if self.is_initialized else ():
            each.change(function)


@contextmanager
def int8_caches(workload: Workload) -> Iterator[Workload]:
    """Let each `generate` of a workload's models keep int8.

    Yields:
        The workload, whose run raises `NotApplicableError` where no cache was replaced.
    """
    replaced: list[object] = []
    with ExitStack() as patches:
        for model in generators(workload):
            patched = _replacing(getattr(model, _PREPARE), replaced)
            patches.enter_context(attribute(model, _PREPARE, patched))
        yield requiring(workload, replaced, _NO_CACHE)


def _replacing(prepare: Callable[..., object], replaced: list[object]) -> Callable[..., object]:
    def prepared(options: object, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> object:
        made = prepare(options, inputs, *args, **kwargs)
        caches = _parts(inputs.get("past_key_values"))
        replaced.extend([cache for cache in caches if _keep_int8(cache)])
        return made

    return prepared


def _parts(cache: object) -> list[Cache]:
    """The caches that grow: that of cross-attention does not, and models read its tensors without asking it."""
    if isinstance(cache, EncoderDecoderCache):
        return [cache.self_attention_cache]
    return [cache] if isinstance(cache, Cache) else []


def _keep_int8(cache: Cache) -> bool:
    """Replace the growing layers of an empty cache; whether there are any."""
    growing = [type(layer) is DynamicLayer for layer in cache.layers]
    cache.layers = [
        Int8Layer() if grows else layer for layer, grows in zip(cache.layers, growing, strict=True)
    ]
    lazy = cache.layer_class_to_replicate is DynamicLayer
    if lazy:
        cache.layer_class_to_replicate = Int8Layer
    return lazy or any(growing)
