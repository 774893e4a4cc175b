"""From a trace to numbers that add up: pure functions, without torch and without printing.

`load` reads a trace into tables, `analyze` runs every registered analysis on every device, `analysis_document` gives the
JSON of the result. The names below are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import DeviceReport, Options, Report
    from mmprof.analyzers.contract import analysis_document, analysis_schema, error_document
    from mmprof.analyzers.errors import MmprofError
    from mmprof.analyzers.trace import Trace

# `analyze` and `load` are modules of this package; their functions are exported by `mmprof`.
__all__ = [
    "DeviceReport",
    "MmprofError",
    "Options",
    "Report",
    "Trace",
    "analysis_document",
    "analysis_schema",
    "error_document",
]

_HOME: Final = {
    "DeviceReport": "analyze",
    "MmprofError": "errors",
    "Options": "analyze",
    "Report": "analyze",
    "Trace": "trace",
    "analysis_document": "contract",
    "analysis_schema": "contract",
    "error_document": "contract",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
