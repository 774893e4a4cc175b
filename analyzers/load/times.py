"""Microsecond text to exact int64 nanoseconds.

Kineto writes times in microseconds: whole (until 2024-03), or with three decimals. Between 2024-03-18 and 2024-04-03 the
decimals were not zero padded (`5.7` meant 5.007). Text is converted digit by digit, so that nothing is rounded.
"""

from __future__ import annotations

import re
from array import array
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Raw

MAX_NS: Final = 2**62
_THREE_DECIMALS: Final = re.compile(rb"(?:-?[0-9]{1,15}\.[0-9]{3}\n)*")
_WHOLE: Final = re.compile(rb"(?:-?[0-9]{1,15}\n)*")
_UNPADDED: Final = re.compile(rb"-?[0-9]{16}\.[0-9]{1,3}")
_THREE_DECIMALS_EPOCH: Final = re.compile(rb"(?:[0-9]{16}\.[0-9]{3}\n)*")


def parse_column(texts: list[Raw]) -> array[int] | None:
    """Nanoseconds of a column of microsecond texts; None where one of them is not in the regular layout."""
    if not texts:
        return array("q")
    blob = b"\n".join(texts) + b"\n"
    if _THREE_DECIMALS.fullmatch(blob) or _THREE_DECIMALS_EPOCH.fullmatch(blob):
        return array("q", map(int, blob.replace(b".", b"").split()))
    if _WHOLE.fullmatch(blob):
        return array("q", [1000 * int(t) for t in blob.split()])
    return None


def parse_one(text: bytes, *, unpadded: bool = False) -> int | None:
    """Nanoseconds of one microsecond text in any JSON number form; None if it is not a finite number in int64.

    Args:
        text: A JSON number, or a number inside a JSON string.
        unpadded: Whether the digits after the point are a count of nanoseconds (`5.7` is 5.007 us).
    """
    cleaned = text.strip().strip(b'"')
    whole, _, decimals = cleaned.partition(b".")
    if unpadded and decimals.isdigit():
        cleaned = whole + b"." + decimals.rjust(3, b"0")
    try:
        micros = Decimal(cleaned.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    if not micros.is_finite() or micros.adjusted() > 18:
        return None
    ns = int((micros * 1000).to_integral_value())
    return ns if abs(ns) < MAX_NS else None


def looks_unpadded(texts: list[bytes]) -> bool:
    """Whether these times come from the exporter that dropped leading zeros of the decimals (2024-03-18 to 2024-04-03).

    That exporter wrote absolute microseconds with one to three decimals, never with a leading zero unless the value is a
    lone 0, and it kept trailing zeros (`.70`), which a shortest-float writer never does.
    """
    absolute = [t.partition(b".")[2] for t in texts if _UNPADDED.fullmatch(t)]
    short = [d for d in absolute if len(d) < 3]
    padded = any(d.startswith(b"0") and len(d) > 1 for d in absolute)
    return bool(short) and not padded and any(d.endswith(b"0") and d != b"0" for d in absolute)
