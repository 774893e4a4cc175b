"""Limits that several rules share, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Two runs of one step differ by more than this, so less can be neither gained nor measured.
SIGNIFICANT_SHARE: Final = 0.01
# A launch takes 5 to 20 us of host time in eager mode; a gap this long is no late launch but other work of the host.
STALL_NS: Final = 1_000_000
# About what an eager launch call takes; a kernel that is shorter cannot hide the next launch.
SHORT_NS: Final = 5_000
# Classes that a compiler fuses into their neighbours; products, convolutions and attention stay kernels of their own.
FUSABLE: Final = (
    "elementwise",
    "activation",
    "normalization",
    "rope",
    "softmax",
    "reduction",
    "quantize",
)


def significant(view: View, time_ns: int) -> bool:
    """Whether a time is worth a finding in this window."""
    return time_ns > 0 and time_ns >= SIGNIFICANT_SHARE * view.window_ns
