"""The verbs: each file of this folder is one, and adds itself to the application when imported.

A verb imports what it needs inside its function: `mmprof --help` imports every file of this folder.
"""

from __future__ import annotations

import importlib
import pkgutil


def load_verbs(wanted: str = "") -> None:
    """Import a verb, or every verb where there is none of that name.

    Args:
        wanted: The verb that will run: the options of all the others take longer to put together than a small trace to read.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for name in [wanted] if wanted in names else names:
        importlib.import_module(f"{__name__}.{name}")
