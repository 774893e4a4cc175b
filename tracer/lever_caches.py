"""A key-value cache that keeps room to grow: a token is written behind the others, which stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

States: TypeAlias = "tuple[Tensor, Tensor]"

_LEAST_ROOM: Final = 64
"""Tokens for which room is added at least."""

_ROOM: Final = "_mmprof_room"


class Growing(Protocol):
    """A layer of a cache of transformers that grows with each token."""

    keys: Tensor
    values: Tensor
    is_initialized: bool

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with nothing."""


Update: TypeAlias = Callable[..., States]


@contextmanager
def with_room(appended: list[object]) -> Iterator[None]:
    """Let every growing layer of every cache append in place.

    The class is changed, because loops make their caches themselves; layers of other classes are left alone.

    Args:
        appended: Gets a sign when a layer appends.
    """
    layers: Any = DynamicLayer
    copying = layers.update
    layers.update = _updating(copying, appended)
    try:
        yield
    finally:
        layers.update = copying


def _updating(copying: Update, appended: list[object]) -> Update:
    def update(layer: Growing, *states: Tensor, **rest: Any) -> States:
        if not _in_place(layer, *states):
            return copying(layer, *states, **rest)
        appended[:] = [True]
        return _append(layer, *states[:2])

    return update


def _in_place(layer: Growing, keys: Tensor, values: Tensor, *_: object) -> bool:
    """Whether tokens may be written behind others: a compiler traces copies, and a gradient needs them."""
    if torch.compiler.is_compiling() or (keys.requires_grad or values.requires_grad):
        return False
    if not layer.is_initialized:
        layer.lazy_initialization(keys, values)
    return layer.keys.dtype == keys.dtype and layer.values.dtype == values.dtype


def _append(layer: Growing, keys: Tensor, values: Tensor) -> States:
    rooms = cast("list[Tensor | None]", getattr(layer, _ROOM, [None, None]))
    layer.keys, rooms[0] = appended_to(layer.keys, keys, rooms[0])
    layer.values, rooms[1] = appended_to(layer.values, values, rooms[1])
    setattr(layer, _ROOM, rooms)
    return layer.keys, layer.values


def appended_to(kept: Tensor, new: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor]:
    """Old and new tokens, and the room that they lie in.

    Args:
        kept: Batch, heads, tokens, channels; or nothing at all.
        new: The same with other tokens.
        room: Where `kept` may lie, with space behind it; anything else is copied to a new room, half as large again, so that a
            sequence is copied a logarithm of its length times instead of once a token.
    """
    before = kept.shape[-2] if kept.numel() else 0
    after = before + new.shape[-2]
    if room is None or not _lies_in(kept, room, after):
        space = after + max(after // 2, _LEAST_ROOM)
        room = new.new_empty(*new.shape[:-2], space, new.shape[-1])
        if before:
            room.narrow(-2, 0, before).copy_(kept)
    room.narrow(-2, before, new.shape[-2]).copy_(new)
    return room.narrow(-2, 0, after), room


def _lies_in(kept: Tensor, room: Tensor, tokens: int) -> bool:
    """Whether what is kept begins where a room does, and tokens fit into that; cropped caches do, reordered ones do not."""
    return (
        kept.data_ptr() == room.data_ptr()
        and tokens <= room.shape[-2]
        and kept.stride() == room.stride()
        and kept.shape[:-2] == room.shape[:-2]
        and room.is_inference() == torch.is_inference_mode_enabled()
    )
