"""Microsecond text to exact int64 nanoseconds.

Kineto writes times in microseconds: whole (until 2024-03), or with three decimals. Between 2024-03-18 and 2024-04-03 the
decimals were not zero padded (`5.7` meant 5.007). Text is converted digit by digit where float64 cannot hold the nanoseconds, so that nothing is rounded.
"""

from __future__ import annotations

import math
import re
import sys
from array import array
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Raw

# Half of what the difference of two int64 can hold; 2^61 ns after 1970 is in 2043.
MAX_NS: Final = 2**61
_TOP_BYTE: Final = 7 if sys.byteorder == "little" else 0
_BELOW_MAX: Final = bytes(range(MAX_NS >> 56))
_THREE_DECIMALS: Final = re.compile(rb"(?:-?[0-9]{1,16}\.[0-9]{3}\n)*")
_WHOLE: Final = re.compile(rb"(?:-?[0-9]{1,16}\n)*")
_UP_TO_THREE_DECIMALS: Final = re.compile(rb"(?:-?[0-9]{1,16}(?:\.[0-9]{1,3})?\n)*")
_FOUR_DECIMALS: Final = re.compile(rb"\.[0-9]{4}")
_INTEGERS: Final = msgspec.json.Decoder(list[int])
_FLOATS: Final = msgspec.json.Decoder(list[float])
_EPOCH_WIDTH: Final = 20
# 2**39 us is six days: in nanoseconds below 2**49, where neighbouring float64 lie 1/8 apart at most
_EXACT_BELOW_US: Final = 2.0**39
# All of a block together; a fourth decimal is at least a tenth.
OFF_BY_NS: Final = 0.01
_NUMBER: Final = re.compile(rb"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,6})?")
_ABSOLUTE_DECIMALS: Final = re.compile(rb'"ts"\s*:\s*"?[0-9]{16}\.([0-9]{1,3})(?![0-9])')
# What is left of the decimals of a 16-digit float64, whose steps are a quarter, in its shortest form.
_QUARTERS: Final = frozenset((b"0", b"2", b"5", b"8", b"25", b"75"))


def parse_column(texts: list[Raw], *, unpadded: bool = False) -> array[int] | None:
    """Nanoseconds of a column of microsecond texts; None where one of them is not in a regular layout."""
    if not texts:
        return array("q")
    blob = b",".join(texts)
    if (
        fast := None if unpadded else _absolute(blob, len(texts)) or _small(blob, len(texts))
    ) is not None:
        return fast
    return _regular(blob.replace(b",", b"\n") + b"\n", unpadded=unpadded)


def nanoseconds(micros: list[float]) -> array[int] | None:
    """Nanoseconds of microseconds that float64 holds; None where one is no time or has more than three decimals.

    What was written with three decimals is off by far less than a thousandth of a nanosecond below hours.
    """
    scaled = [v * 1000.0 for v in micros]
    try:
        whole = array("q", map(round, scaled))
    except (ValueError, OverflowError):  # not a number, infinite
        return None
    return whole if math.dist(scaled, whole) < OFF_BY_NS else None


def are_regular(starts: array[int]) -> bool:
    """Whether all start times are within what tables hold."""
    if not starts.tobytes()[_TOP_BYTE::8].strip(_BELOW_MAX):
        return True
    return min(starts) > -MAX_NS and max(starts) < MAX_NS


def _absolute(blob: bytes, count: int) -> array[int] | None:
    """Microseconds since 1970 with three decimals: 20 characters each, whose digits are the nanoseconds."""
    width = _EPOCH_WIDTH + 1
    if len(blob) != width * count - 1 or blob[16::width] != b"." * count:
        return None
    try:
        return array("q", _INTEGERS.decode(b"[" + blob.replace(b".", b"") + b"]"))
    except (msgspec.MsgspecError, OverflowError):
        return None


def _small(blob: bytes, count: int) -> array[int] | None:
    """Times below `_EXACT_BELOW_US`, where float64 holds more than nanoseconds: 1000 v is off by less than a half."""
    if _FOUR_DECIMALS.search(blob) or b"e" in blob or b"E" in blob:
        return None
    try:
        micros = _FLOATS.decode(b"[" + blob + b"]")
    except msgspec.MsgspecError:
        return None
    if len(micros) != count or not 0 <= min(micros) <= max(micros) < _EXACT_BELOW_US:
        return None
    return array("q", [int(v * 1000.0 + 0.5) for v in micros])


def _regular(blob: bytes, *, unpadded: bool) -> array[int] | None:
    try:
        if _THREE_DECIMALS.fullmatch(blob):
            return array("q", map(int, blob.replace(b".", b"").split()))
        if _WHOLE.fullmatch(blob):
            return array("q", [1000 * int(t) for t in blob.split()])
        if _UP_TO_THREE_DECIMALS.fullmatch(blob):
            return _shorter_decimals(blob, unpadded=unpadded)
    except OverflowError:
        return None
    return None


def _shorter_decimals(blob: bytes, *, unpadded: bool) -> array[int]:
    pad = bytes.rjust if unpadded else bytes.ljust
    parts = [text.partition(b".") for text in blob.split()]
    return array("q", [int(whole + pad(decimals, 3, b"0")) for whole, _, decimals in parts])


def parse_one(text: bytes, *, unpadded: bool = False) -> int | None:
    """Nanoseconds of one microsecond text in any JSON number form; None if it is not a finite number.

    Args:
        text: A JSON number, or a number inside a JSON string.
        unpadded: Whether the digits after the point are a count of nanoseconds (`5.7` is 5.007 us).

    Returns:
        Nanoseconds; `MAX_NS`, with their sign, where they are that or more.
    """
    cleaned = text.strip().strip(b'"').strip()
    if not _NUMBER.fullmatch(cleaned):
        return None
    whole, _, decimals = cleaned.partition(b".")
    if unpadded and decimals.isdigit():
        cleaned = whole + b"." + decimals.rjust(3, b"0")
    micros = Decimal(cleaned.decode("ascii"))
    if micros and micros.adjusted() > 18:
        return MAX_NS if micros > 0 else -MAX_NS
    return max(-MAX_NS, min(int((micros * 1000).to_integral_value()), MAX_NS))


def looks_unpadded(text: bytes) -> bool:
    """Whether the times of some event text come from the exporter that dropped leading zeros of the decimals.

    That exporter (2024-03-18 to 2024-04-03) wrote absolute microseconds with one to three decimals and never a leading
    zero before another digit. Shorter decimals than three are also written by a program that dumps floats: those are
    quarters of a microsecond at that size.
    """
    decimals = set(_ABSOLUTE_DECIMALS.findall(text))
    padded = any(d.startswith(b"0") and len(d) > 1 for d in decimals)
    return not padded and any(len(d) < 3 and d not in _QUARTERS for d in decimals)
