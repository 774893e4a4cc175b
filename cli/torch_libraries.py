"""torch and what comes with it, before they are imported: whether they are there, and how talkative they are."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from typing import Final

from mmprof.analyzers.errors import MmprofError

INSTALL: Final = "pip install 'mmprof[trace]'"
# torchao tells which kernels of other devices it lacks, and torch how torchao registers its types.
_TALKATIVE: Final = ("torchao", "torch.utils._pytree")


def check_torch(what: str = "tracing", *, otherwise: str = "") -> None:
    """Check that torch is installed.

    Args:
        what: What needs it.
        otherwise: What works without it.

    Raises:
        MmprofError: It is not.
    """
    if importlib.util.find_spec("torch") is None:
        hint = f"{INSTALL}; without torch: {otherwise}" if otherwise else INSTALL
        raise MmprofError(
            "MM-E050",
            f"{what} needs torch, which is not installed",
            found=sys.executable,
            hint=hint,
        )


def quiet_libraries() -> None:
    """Turn off what libraries write to standard error when they start, unless the user has set it."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
