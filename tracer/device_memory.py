"""Settings of torch's caching allocator on CUDA that can change while a process runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import torch

_VARIABLES: Final = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_ON: Final = "expandable_segments:True"
_OFF: Final = "expandable_segments:False"
_SETTER: Final = "_accelerator_setAllocatorSettings"


def why_no_expandable_segments() -> str:
    """Why segments cannot be made expandable; empty where they can."""
    if any(_ON in os.environ.get(name, "") for name in _VARIABLES):
        return "segments are expandable already"
    if torch.cuda.get_allocator_backend() != "native":
        return "the allocator is not torch's own"
    if not hasattr(torch._C, _SETTER):  # noqa: SLF001  (there is no public setter)
        return f"this torch takes it at the start only: set {_VARIABLES[0]}={_ON}"
    return ""


@contextmanager
def expandable_segments() -> Iterator[None]:
    """Let segments grow in place; what is cached is given back first, so that all is allocated so."""
    told = cast("Callable[[str], None]", getattr(torch._C, _SETTER))  # noqa: SLF001
    torch.cuda.empty_cache()
    told(_ON)
    try:
        yield
    finally:
        told(_OFF)
        torch.cuda.empty_cache()
