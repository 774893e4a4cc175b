"""The verbs: each file of this folder is one, and adds itself to the application when imported.

A verb imports what it needs inside its function: `mmprof --help` imports every file of this folder.
"""

from __future__ import annotations

import importlib
import pkgutil


def load_verbs() -> None:
    """Import every verb, in alphabetical order."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
