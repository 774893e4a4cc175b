"""Numbers in sentences: three significant digits and a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

TIMES: Final = ((1, "ns"), (10**3, "us"), (10**6, "ms"), (10**9, "s"))
_BYTES: Final = ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB"))
_RATES: Final = ((1, "B/s"), (10**3, "kB/s"), (10**6, "MB/s"), (10**9, "GB/s"), (10**12, "TB/s"))


def format_ns(ns: float) -> str:
    """Nanoseconds as `1.23 ms`, `511 ms`, `4.00 us`, `850 ns`."""
    return scaled(ns, TIMES)


def format_bytes(count: float) -> str:
    """Bytes as `1.49 GiB`."""
    return scaled(count, _BYTES)


def format_rate(bytes_per_second: float) -> str:
    """Bytes per second as `3.35 TB/s`, decimal as data sheets give bandwidth."""
    return scaled(bytes_per_second, _RATES)


def format_share(part: float, whole: float = 1) -> str:
    """`part` of `whole` in percent: `47.4 %`; what is present is never shown as zero."""
    share = part / whole if whole else 0.0
    return "<0.1 %" if 0 < share < 0.0005 else f"{share:.1%}".replace("%", " %")


def format_count(count: int, noun: str = "", plural: str = "") -> str:
    """A count as `5,165`, with a noun `1 launch`, `3 launches`; the plural adds an s unless it is given."""
    if not noun:
        return f"{count:,}"
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def scaled(value: float, units: Sequence[tuple[int, str]]) -> str:
    """A value in the largest of `units` (size and name, by size) that keeps it at or above 1."""
    size, unit = units[0]
    for larger, name in units[1:]:
        # 999.5 of a unit would be shown as 1000 of it.
        if abs(value) < larger * 0.9995:
            break
        size, unit = larger, name
    whole = isinstance(value, int) and size == 1
    return f"{value:,} {unit}" if whole else f"{three_digits(value / size)} {unit}"


def three_digits(value: float) -> str:
    """A number with three significant digits, more before the point where it has them."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"
