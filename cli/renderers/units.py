"""Numbers for people: three significant digits and a unit. What is present is never shown as zero."""

from __future__ import annotations

from typing import Final

from mmprof.analyzers.units import TIMES, scaled, three_digits

_SI: Final = tuple((1000**i, prefix) for i, prefix in enumerate(("", "k", "M", "G", "T", "P", "E")))
_IEC: Final = tuple(
    (1024**i, prefix) for i, prefix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
)


def duration(ns: float) -> str:
    """Nanoseconds as `1.08 s`, `52.6 ms`, `123 ns`."""
    return scaled(ns, TIMES)


def instant(ns: int) -> str:
    """A time on the trace's clock in microseconds, exactly as `ts` has it."""
    sign = "-" * (ns < 0)
    return f"{sign}{abs(ns) // 1000}.{abs(ns) % 1000:03d} us"


def share(part: float) -> str:
    """A share of 1 as `52.6 %`; `<0.1 %` for what is present but small, `>99.9 %` for nearly all."""
    if 0 < part < 0.0005:
        return "<0.1 %"
    if 0.9995 <= part < 1:
        return ">99.9 %"
    return f"{part * 100:.1f} %"


def share_of(part: float, whole: float) -> str:
    """`part` as a share of `whole`, `-` of nothing."""
    return share(part / whole) if whole else "-"


def bytes_(count: float) -> str:
    """Bytes as `1.49 GiB`."""
    return scaled(count, tuple((size, f"{prefix}B") for size, prefix in _IEC))


def flops(count: float) -> str:
    """Floating-point operations as `14.9 GFLOP`."""
    return scaled(count, tuple((size, f"{prefix}FLOP") for size, prefix in _SI))


def rate(per_second: float, unit: str) -> str:
    """Something per second as `3.35 TB/s`."""
    return scaled(per_second, tuple((size, f"{prefix}{unit}/s") for size, prefix in _SI))


def count(number: int) -> str:
    """`1,355`."""
    return f"{number:,}"


def factor(times: float) -> str:
    """A speedup as `1.42x`, `12.0x`."""
    return f"{three_digits(times)}x"


def number(value: float) -> str:
    """Any number with three significant digits."""
    return three_digits(value) if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


def quantity(value: float, unit: str) -> str:
    """A number in one of the units `ns`, `share`, `bytes` and `count`."""
    known = {"ns": duration, "share": share, "bytes": bytes_}
    if unit in known:
        return known[unit](value)
    return count(int(value)) if value == int(value) else f"{value:,.10g}"


def difference(value: float, unit: str) -> str:
    """The size of a difference between two numbers of a unit; of shares in percentage points."""
    return f"{abs(value) * 100:.1f} points" if unit == "share" else quantity(abs(value), unit)
