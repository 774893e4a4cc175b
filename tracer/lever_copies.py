"""Copies from the host to a device that the host does not wait for.

A copy from pageable memory holds the host until the driver has read all of it. Here the values are first copied to pinned memory,
which torch's allocator keeps until the device is done with it, so that the host may write into its own tensor at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

HOST: Final = "cpu"
_METHODS: Final = ("to", "cuda", "copy_")

Method: TypeAlias = Callable[..., Tensor]
Pin: TypeAlias = Callable[[Tensor], Tensor]
Leaves: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], bool]


@contextmanager
def pinned_copies(copies: list[object], *, pin: Pin = Tensor.pin_memory) -> Iterator[None]:
    """Pin what is copied from the host.

    Args:
        copies: Gets an element for each copy that goes through pinned memory.
        pin: Makes the pinned copy of a tensor.
    """
    changed: dict[str, Callable[[Method], Method]] = {
        "to": lambda method: _moving(method, _leaves_host, copies, pin),
        "cuda": lambda method: _moving(method, _is_plain, copies, pin),
        "copy_": lambda method: _filling(method, copies, pin),
    }
    with ExitStack() as restored:
        for name in _METHODS:
            restored.enter_context(_method(name, changed[name]))
        yield


@contextmanager
def _method(name: str, change: Callable[[Method], Method]) -> Iterator[None]:
    """Put a changed method in front of an inherited one, or of the class's own, which comes back."""
    own = vars(Tensor).get(name)
    setattr(Tensor, name, change(getattr(Tensor, name)))
    try:
        yield
    finally:
        if own is None:
            delattr(Tensor, name)
        else:
            setattr(Tensor, name, own)


def _moving(method: Method, leaves: Leaves, copies: list[object], pin: Pin) -> Method:
    """`to` and `cuda`: where the result would lie elsewhere, it is made from a pinned copy."""

    def move(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not _pageable(tensor) or not leaves(args, kwargs):
            return method(tensor, *args, **kwargs)
        copies.append(tensor.shape)
        return method(pin(tensor), *args, **{**kwargs, "non_blocking": True})

    return move


def _filling(method: Method, copies: list[object], pin: Pin) -> Method:
    """`copy_`: into a tensor of a device."""

    def fill(tensor: Tensor, source: Any, *args: Any, **kwargs: Any) -> Tensor:
        if tensor.device.type == HOST or not isinstance(source, Tensor) or not _pageable(source):
            return method(tensor, source, *args, **kwargs)
        copies.append(source.shape)
        return method(tensor, pin(source), non_blocking=True)

    return fill


def _pageable(tensor: Tensor) -> bool:
    plain = type(tensor) in {Tensor, torch.nn.Parameter} and tensor.layout == torch.strided
    return plain and tensor.device.type == HOST and not tensor.is_pinned()


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether no flag is given by its position, where `non_blocking` could stand twice."""
    del kwargs
    return not any(isinstance(value, bool) for value in args)


def _leaves_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether these arguments of `to` name another device than the host."""
    named = [*args, kwargs.get("device"), kwargs.get("other")]
    return _is_plain(args, kwargs) and any(
        _device_type(value) not in {None, HOST} for value in named
    )


def _device_type(value: object) -> str | None:
    if isinstance(value, torch.device):
        return value.type
    if isinstance(value, Tensor):
        return value.device.type
    if isinstance(value, int):  # an index of the accelerator
        return "cuda"
    return torch.device(value).type if isinstance(value, str) else None
