"""From bytes to tables: opens any Kineto trace, says what it repaired, keeps every nanosecond.

`load` is imported by its first use: a decoding process needs few of the modules here, and starts in half of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmprof.analyzers.load.opening import load

__all__ = ["load"]


def __getattr__(name: str) -> object:
    if name == "load":
        from mmprof.analyzers.load import opening  # noqa: PLC0415

        return opening.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
