"""torch and what comes with it, before they are imported: whether they are there, and how talkative they are."""

from __future__ import annotations

import logging
import os
from typing import Final

from mmprof.tracer.torch_required import check_torch

__all__ = ["check_torch", "quiet_libraries"]

# torchao tells which kernels of other devices it lacks, and torch how torchao registers its types.
_TALKATIVE: Final = ("torchao", "torch.utils._pytree")


def quiet_libraries() -> None:
    """Turn off what libraries write to standard error when they start, unless the user has set it."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
