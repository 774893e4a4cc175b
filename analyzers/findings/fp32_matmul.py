"""MM106: single precision on hardware that multiplies other types faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import (
    about_activities,
    named,
    share_words,
    total,
    with_costs,
)
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.units import format_count

if TYPE_CHECKING:
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.view import View

# Kernels that already use matrix units for float operands: TF32's instruction is m16n8k8 of float ("s1688").
_MATRIX_UNITS: Final = r"tf32|xf32|s1688|16816|h884|s884"
_MODELS: Final = ("matmul", "convolution", "convolution backward")
# A layer bound by latency does not get faster by faster arithmetic.
_SCALING_BOUNDS: Final = ("compute", "memory")


@dataclass(frozen=True, slots=True)
class FasterMode:
    """A faster way to multiply.

    Attributes:
        lever: The lever that switches to it.
        words: Its name for people.
        time_factor: Time at its peak, in units of the time at the peak of fp32.
        bytes_factor: Bytes that it moves, in units of those of fp32.
    """

    lever: str
    words: str
    time_factor: float
    bytes_factor: float


@finding("MM106", "fp32 matrix products", lever="tf32")
def fp32_matmul(view: View) -> Match | None:
    """Matrix products or convolutions run in fp32 on the ordinary units, while the device has faster matrix units.

    TF32 keeps fp32 tensors and rounds the factors to 10 bits of mantissa: switch it on with
    torch.set_float32_matmul_precision("high"). It changes results by about 1e-3 relative. Where the device has no TF32, or
    for twice the speed and half the memory traffic, run in bf16 or fp16 (autocast or converted weights) and check the
    quality of the outputs.
    """
    mode = _faster_mode(view.match.spec) if view.match else None
    if mode is None or view.match is None:
        return None
    found = _on_ordinary_units(view)
    removable = _removable_ns(found, mode, view.match.spec)
    if not significant(view, removable):
        return None
    title = (
        f"{share_words(view, total(found, 'own_ns'))} in {format_count(found.height, 'fp32 kernel')} of matrix products and "
        f"convolutions; {mode.words} has {1 / mode.time_factor:.1f} times the peak"
    )
    return about_activities(view, found, title=title, removable_ns=removable, lever=mode.lever)


def _faster_mode(spec: DeviceSpec) -> FasterMode | None:
    """TF32, which keeps the tensors as they are, before 16-bit types; None where neither is faster."""
    fp32 = spec.peak("fp32")
    if fp32 is None:
        return None
    for key, lever, words, bytes_factor in (
        ("tf32", "tf32", "TF32", 1.0),
        ("bf16", "dtype", "bf16", 0.5),
        ("fp16", "dtype", "fp16", 0.5),
    ):
        if (peak := spec.peak(key)) is not None and peak > fp32:
            return FasterMode(lever, words, fp32 / peak, bytes_factor)
    return None


def _on_ordinary_units(view: View) -> pl.DataFrame:
    costed = with_costs(view).filter(pl.col("kind") == "kernel")
    modelled = pl.col("model").is_in(_MODELS) & (pl.col("dtype") == "float")
    scaling = modelled & pl.col("bound").is_in(_SCALING_BOUNDS)
    convolution = (pl.col("class") == "convolution") & pl.col("model").is_null()
    unmodelled = convolution & pl.col("call").is_in(_calls_in_fp32(view).implode())
    return costed.filter((scaling | unmodelled) & ~named(costed, _MATRIX_UNITS))


def _calls_in_fp32(view: View) -> pl.Series:
    """Calls with float tensors and none of half the width; convolutions of old traces have no cost."""
    types = pl.col("types")
    half = types.str.contains("Half") | types.str.contains("BFloat16")
    return view.trace.calls.filter(types.str.contains('"float"', literal=True) & ~half)["call"]


def _removable_ns(found: pl.DataFrame, mode: FasterMode, spec: DeviceSpec) -> int:
    """What remains at the faster peak and the same efficiency, but never less than the memory traffic needs."""
    memory_ns = pl.col("moved_bytes") * (mode.bytes_factor / spec.bandwidth_bytes_per_s * 1e9)
    remaining = pl.max_horizontal(pl.col("own_ns") * mode.time_factor, memory_ns)
    saved = (pl.col("own_ns") - remaining).clip(0)
    return int(found.select(saved.sum()).item())
