"""Numbers in sentences: three significant digits and a unit."""

from __future__ import annotations

from typing import Final

_TIMES: Final = ((1, "ns"), (10**3, "us"), (10**6, "ms"), (10**9, "s"))
_BYTES: Final = ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB"))


def format_ns(ns: float) -> str:
    """Nanoseconds as `1.23 ms`, `511 ms`, `4.00 us`, `850 ns`."""
    return _scaled(ns, _TIMES)


def format_bytes(count: float) -> str:
    """Bytes as `1.49 GiB`."""
    return _scaled(count, _BYTES)


def format_share(part: float, whole: float = 1) -> str:
    """`part` of `whole` in percent: `47.4 %`; what is present is never shown as zero."""
    share = part / whole if whole else 0.0
    return "<0.1 %" if 0 < share < 0.0005 else f"{share:.1%}".replace("%", " %")


def format_count(count: int, noun: str = "", plural: str = "") -> str:
    """A count as `5,165`, with a noun `1 launch`, `3 launches`; the plural adds an s unless it is given."""
    if not noun:
        return f"{count:,}"
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _scaled(value: float, units: tuple[tuple[int, str], ...]) -> str:
    size, unit = units[0]
    for larger, name in units[1:]:
        # 999.5 of a unit would be shown as 1000 of it.
        if abs(value) < larger * 0.9995:
            break
        size, unit = larger, name
    return f"{value:,.0f} {unit}" if size == 1 else f"{_three_digits(value / size)} {unit}"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"
