"""What smaller numbers gain: arithmetic at a higher peak, fewer bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.units import format_bytes, format_count, format_share, scaled
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted
from mmprof.analyzers.whatif.weights import FEW_ROWS, layer_times, rows_of_layers, times

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay

_PRODUCTS: Final = ("matmul", "convolution")
_NO_PEAKS: Final = "the peaks of this device are not known: --device-spec gives them"
_RATES: Final = ((10**6, "MFLOP/s"), (10**9, "GFLOP/s"), (10**12, "TFLOP/s"))
_NO_SHAPES: Final = "no FLOPs or bytes are known: record with record_shapes=True"


def half_precision(replay: Replay) -> Predicted:
    """Predict bfloat16 in the place of float32: half of the bytes, and products at that type's peak."""
    factor = _peak_factor(replay, "bf16")
    if factor is None:
        return None, _no_peak(replay, "bfloat16")
    costed = with_costs(replay.view)
    floats = costed.filter(pl.col("dtype") == "float", pl.col("model").is_not_null())
    if floats.is_empty():
        known = costed["model"].is_not_null().any()
        return None, "no activity works on float32" if known else _NO_SHAPES
    is_product = pl.col("model").is_in(_PRODUCTS)
    by_compute = pl.when(is_product).then(factor).otherwise(0.5)
    compute, memory = pl.col("bound") == "compute", pl.col("bound") == "memory"
    scaled = pl.when(compute).then(by_compute).when(memory).then(0.5).otherwise(1.0)
    all_products = pl.when((pl.col("bound") == "latency") & is_product).then(0.5).otherwise(scaled)
    case = Case(
        low=[times(floats, 1 - (1 - scaled) / 2)],
        expected=[times(floats, scaled)],
        high=[times(floats, all_products)],
    )
    said = [
        f"{format_count(floats.height, 'activity', 'activities')} on float32: those bound by memory take half of their time, "
        f"products bound by compute {format_share(factor)} of it, what is bound by latency stays",
        "low: half of that saving; high: products bound by latency take half of their time, too",
    ]
    return predicted(replay, case, rows=floats["row"], assumptions=said)


def tensor_float(replay: Replay) -> Predicted:
    """Predict TF32 in products of float32: the same bytes, a higher peak."""
    factor = _peak_factor(replay, "tf32")
    if factor is None or replay.view.match is None:
        return None, _no_peak(replay, "TF32")
    costed = with_costs(replay.view)
    found = costed.filter(
        pl.col("model").is_in(_PRODUCTS), pl.col("dtype") == "float", pl.col("bound") == "compute"
    )
    if found.is_empty():
        return None, "no product of float32 is bound by compute, or TF32 is on already"
    memory_ns = pl.col("moved_bytes") / replay.view.match.spec.bandwidth_bytes_per_s * 1e9
    left = pl.max_horizontal(factor, memory_ns / pl.col("dur_ns").clip(1)).clip(0, 1)
    case = Case(
        low=[times(found, 1 - (1 - left) / 2)], expected=[times(found, left)], high=[times(found, left)]
    )  # fmt: skip
    said = [
        f"{format_count(found.height, 'product')} of float32 bound by compute take {format_share(factor)} of their time, but "
        "not less than their memory traffic needs; low: half of that saving"
    ]
    return predicted(replay, case, rows=found["row"], assumptions=said)


def half_head(replay: Replay) -> Predicted:
    """Predict an output head in half of its bytes: the widest linear layer of a step, which runs once where others run in each layer."""
    layers = products(replay.view).filter(
        pl.col("class") == "linear", pl.col("m") <= FEW_ROWS, pl.col("dtype") == "float"
    )
    head = _head(layers)
    if head.is_empty():
        return (
            None,
            "no linear layer of float32 is the widest and runs once a step, as an output head does",
        )
    saved = (pl.col("second_bytes") / pl.col("moved_bytes").clip(1)).clip(0, 1) / 2
    bound = head.filter(pl.col("bound") == "memory")
    case = Case(
        low=[layer_times(replay, bound, 1 - saved / 2)],
        expected=[layer_times(replay, bound, 1 - saved)],
        high=[layer_times(replay, head, 1 - saved)],
    )
    said = [
        f"{format_count(bound.height, 'call')} of the output head bound by memory read half of {format_bytes(int(head['second_bytes'].sum()))} "
        "of weights; low: half of that saving; high: those bound by latency shrink as much",
    ]
    return predicted(replay, case, rows=rows_of_layers(replay, head)["row"], assumptions=said)


def _head(layers: pl.DataFrame) -> pl.DataFrame:
    """The calls of the widest layer, if layers of another width run at least twice as often; else none."""
    widths = layers.group_by("n").agg(calls=pl.len()).sort("n", descending=True)
    if widths.height < 2 or 2 * widths["calls"][0] > widths["calls"][1]:
        return layers.head(0)
    return layers.filter(pl.col("n") == widths["n"][0])


def int8_products(replay: Replay) -> Predicted:
    """Predict int8 weights and activations: linear layers bound by compute at the peak of int8, and a pass to round."""
    return _rounded_products(replay, "int8", "int8")


def float8_products(replay: Replay) -> Predicted:
    """Predict float8 weights and activations, in the same way."""
    return _rounded_products(replay, "fp8", "float8")


def _rounded_products(replay: Replay, key: str, name: str) -> Predicted:
    """Linear layers bound by compute at the peak of a type of one byte, after a pass that rounds their activations."""
    match = replay.view.match
    rounded = match.spec.peak(key) if match else None
    if match is None or rounded is None:
        return None, _no_peak(replay, name)
    layers = products(replay.view).filter(
        pl.col("class") == "linear", pl.col("bound") == "compute", pl.col("dtype").is_not_null()
    )
    if layers.is_empty():
        return None, "no linear layer of known shape is bound by compute"
    fastest = float(max(match.spec.peak_flops.values()))
    peaks = {d: float(match.spec.peak(d) or fastest) for d in layers["dtype"].unique().to_list()}
    peak = pl.col("dtype").replace_strict(peaks, return_dtype=pl.Float64)
    # the activations are read and written once more, in the smaller type
    rounding_ns = 1.5 * pl.col("first_bytes") / match.spec.bandwidth_bytes_per_s * 1e9
    left = (peak / rounded + rounding_ns / pl.col("own_ns").clip(1)).clip(0, 1)
    case = Case(
        low=[],
        expected=[layer_times(replay, layers, 1 - (1 - left) / 2)],
        high=[layer_times(replay, layers, left)],
    )
    said = [
        f"{format_count(layers.height, 'linear layer call')} bound by compute gain half of what {name}'s peak allows, after a "
        "pass that rounds the activations; high: all of it; low: nothing",
    ]
    return predicted(replay, case, rows=rows_of_layers(replay, layers)["row"], assumptions=said)


def _peak_factor(replay: Replay, dtype: str) -> float | None:
    """Time of a product at a type's peak in units of that at the peak of fp32; None where it is not shorter or not known."""
    if replay.view.match is None:
        return None
    fp32, other = (replay.view.match.spec.peak(d) for d in ("fp32", dtype))
    return fp32 / other if fp32 and other and other > fp32 else None


def _no_peak(replay: Replay, name: str) -> str:
    if replay.view.match is None:
        return _NO_PEAKS
    known = ", ".join(
        f"{dtype} {scaled(float(peak), _RATES)}"
        for dtype, peak in replay.view.match.spec.peak_flops.items()
    )
    return f"no higher peak of {name} is known of this device ({known})"
