"""A key-value cache that keeps room to grow: a token is written behind the others, which stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

States: TypeAlias = "tuple[Tensor, Tensor]"
Update: TypeAlias = Callable[..., States]
Crop: TypeAlias = Callable[..., None]

_LEAST_ROOM: Final = 64
"""Tokens for which room is added at least."""

_MOST_MOVES: Final = 2
"""How often a cache may lie elsewhere before no room is kept for it any more: beam search moves it at each step."""

_ROOM: Final = "_mmprof_room"


@dataclass(slots=True)
class Room:
    """Where keys and values of a layer lie, and space behind them.

    Attributes:
        keys: Batch, heads, tokens and space, channels.
        values: The same.
        filled: Tokens that are written. A state that ends earlier is one that somebody may hold beside a later one.
        moves: How often the layer's tokens were found elsewhere.
    """

    keys: Tensor
    values: Tensor
    filled: int = 0
    moves: int = 0

    def write(self, keys: Tensor, values: Tensor) -> States:
        """Append tokens; all of them."""
        new = keys.shape[-2]
        self.keys.narrow(-2, self.filled, new).copy_(keys)
        self.values.narrow(-2, self.filled, new).copy_(values)
        self.filled += new
        return self.keys.narrow(-2, 0, self.filled), self.values.narrow(-2, 0, self.filled)

    def holds(self, keys: Tensor, values: Tensor) -> bool:
        """Whether keys and values are what was written last."""
        return (
            keys.data_ptr() == self.keys.data_ptr()
            and values.data_ptr() == self.values.data_ptr()
            and keys.shape[-2] == self.filled
            and keys.stride() == self.keys.stride()
            and keys.shape[:-2] == self.keys.shape[:-2]
            and self.keys.is_inference() == torch.is_inference_mode_enabled()
        )

    def leave(self) -> None:
        """Give the memory back."""
        self.keys = self.values = self.keys.new_empty(0)


class Growing(Protocol):
    """A layer of a cache of transformers that grows with each token."""

    keys: Tensor
    values: Tensor
    is_initialized: bool

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with nothing."""


@contextmanager
def with_room(appended: list[object]) -> Iterator[None]:
    """Let every growing layer of every cache append in place.

    The class is changed, because loops make their caches themselves; subclasses with an `update` of their own are left alone.
    Contexts must end in the opposite order of their beginning.

    Args:
        appended: Gets a sign when a layer appends in place.
    """
    layers: Any = DynamicLayer
    copying, cropping = layers.update, layers.crop
    layers.update, layers.crop = _updating(copying, appended), _cropping(cropping)
    try:
        yield
    finally:
        layers.update, layers.crop = copying, cropping


def _updating(copying: Update, appended: list[object]) -> Update:
    def update(
        layer: Growing, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> States:
        room = room_for(layer, key_states, value_states)
        if room is None:
            return copying(layer, key_states, value_states, *args, **kwargs)
        before: Room | None = vars(layer).get(_ROOM)
        if before is room:
            appended[:] = [True]
        vars(layer)[_ROOM] = room
        layer.keys, layer.values = room.write(key_states, value_states)
        return layer.keys, layer.values

    return update


def _cropping(cropping: Crop) -> Crop:
    """Cropped tokens are overwritten; no other end of a state allows that."""

    def crop(layer: Growing, *args: Any, **kwargs: Any) -> None:
        room = vars(layer).get(_ROOM)
        held = room is not None and layer.is_initialized and room.holds(layer.keys, layer.values)
        cropping(layer, *args, **kwargs)
        if room is not None and held:
            room.filled = layer.keys.shape[-2]

    return crop


def room_for(layer: Growing, keys: Tensor, values: Tensor) -> Room | None:
    """Where to append tokens in place; None where all must be copied.

    A compiler traces copies, and a gradient needs them. A room that is full is left for one half as large again, so that a
    sequence is copied a logarithm of its length times instead of once a token.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    if not layer.is_initialized:
        layer.lazy_initialization(keys, values)
    if layer.keys.dim() == 1:  # what a layer begins with
        return _room_with(keys, values, keys.shape[-2])
    if not (_alike(layer.keys, keys) and _alike(layer.values, values)):
        return None
    room = cast("Room | None", vars(layer).get(_ROOM))
    after = layer.keys.shape[-2] + keys.shape[-2]
    held = room is not None and room.holds(layer.keys, layer.values)
    if room is not None and held and after <= room.keys.shape[-2]:
        return room
    moves = (room.moves if room is not None else 0) + (not held)
    if room is not None and moves > _MOST_MOVES:
        room.leave()
        return None
    made = _room_with(keys, values, after)
    made.moves = moves
    made.write(layer.keys, layer.values)
    return made


def _room_with(keys: Tensor, values: Tensor, tokens: int) -> Room:
    space = tokens + max(tokens // 2, _LEAST_ROOM)
    return Room(_with_space(keys, space), _with_space(values, space))


def _with_space(states: Tensor, tokens: int) -> Tensor:
    return states.new_empty(*states.shape[:-2], tokens, states.shape[-1])


def _alike(kept: Tensor, new: Tensor) -> bool:
    """Whether concatenation along the tokens neither converts nor fails."""
    return (
        kept.dtype == new.dtype
        and kept.shape[:-2] == new.shape[:-2]
        and kept.shape[-1] == new.shape[-1]
    )
