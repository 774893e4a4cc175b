"""What smaller weights gain in linear layers that few rows meet: fewer bytes to read, and another library's product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.units import format_bytes, format_count, format_ns, format_share
from mmprof.analyzers.whatif.changes import Change, HostAdded, Shortened
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay

# Up to this many rows a linear layer with smaller weights stays bound by reading them: `findings/weight_bandwidth.py`.
FEW_ROWS: Final = 32
# Of its roofline, what a CPU's product with small weights is expected to reach beside its entry: assumptions. FBGEMM's float16 and int8
# products with weights of 512 x 512 to 32,000 x 512 reached, of what a core reads on one AMD Zen 3 and with their entry taken off, 0.3 to 1 with
# one row (median of 8: 0.84), 0.2 to 0.8 with 3 and 5 rows (median of 16: 0.6); MKL's float32 products of these 0.2 to 0.4.
ONE_ROW_EFFICIENCY: Final = 0.84
PRODUCT_EFFICIENCY: Final = 0.6
"""With several rows; int4 weights are expected to reach as much."""

# What a layer of 64 inputs and outputs took beyond torch's own, whose product is negligible at that size (torch 2.13, one core of a Zen 3,
# 1 to 5 rows).
FP16_ENTRY_NS: Final = 15_000
"""`linear_dynamic_fp16` took 14 to 18 us."""
INT8_DYNAMIC_ENTRY_NS: Final = 50_000
"""`linear_dynamic` with its rows scaled took 52 to 54 us; a single row, which is not scaled, 21 to 30 us."""
INT8_WEIGHTS_ENTRY_NS: Final = 30_000
"""torchao's int8 weights took 27 to 32 us."""
INT4_ENTRY_NS: Final = 12_000
"""`_weight_int4pack_mm_for_cpu` in bfloat16 took 11 to 16 us."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How a lever stores weights, and what it takes to use them.

    Attributes:
        bits: Bits of a weight.
        bits_on_cpu: As many bits as a CPU needs the time to read of, where unpacking takes it longer; 0 for `bits`.
        eager_on_cpu: Whether a CPU has a kernel that reads them without a compiler.
        entry_ns: What a CPU takes for a call beside its product, beyond what it took before: another library is entered, or activations
            are converted by operators of their own.
        where_faster: Whether a layer keeps what it has where that is faster.
    """

    bits: int = 8
    bits_on_cpu: int = 0
    eager_on_cpu: bool = True
    entry_ns: int = 0
    where_faster: bool = False


def small_weights(replay: Replay, weights: Weights) -> Predicted:
    """Predict smaller weights: linear layers with few rows read fewer bytes."""
    layers = products(replay.view).filter(
        pl.col("class") == "linear", pl.col("m") <= FEW_ROWS, pl.col("second_bytes") > pl.col("first_bytes")
    )  # fmt: skip
    if layers.is_empty():
        return None, f"no linear layer of known shape has at most {FEW_ROWS} rows"
    layers = layers.with_columns(**_shares_left(replay, weights))
    case = _on_cpu(replay, layers, weights) if replay.view.is_host else _on_device(replay, layers)
    rows = rows_of_layers(replay, layers)["row"]
    return predicted(replay, case, rows=rows, assumptions=_assumptions(replay, layers, weights))


def _shares_left(replay: Replay, weights: Weights) -> dict[str, pl.Expr]:
    """What is left of a layer's time: what is expected, and the least."""
    read = pl.col("second_bytes") / pl.col("moved_bytes").clip(1)
    element = pl.when(pl.col("dtype") == "float").then(32).otherwise(16)

    def left(bits: int) -> pl.Expr:
        return 1 - read.clip(0, 1) * (1 - bits / element).clip(0)

    fewest = left(weights.bits)
    if not replay.view.is_host:
        return {"likely": fewest, "least": fewest}
    # on a CPU another library multiplies: what the recorded one takes beyond its bytes does not stay
    expected = left(weights.bits_on_cpu or weights.bits)
    reached = pl.when(pl.col("m") == 1).then(ONE_ROW_EFFICIENCY).otherwise(PRODUCT_EFFICIENCY)
    likely = _roofline_share(replay, expected) / reached
    return {
        "likely": pl.min_horizontal(expected, likely),
        "least": pl.min_horizontal(fewest, _roofline_share(replay, fewest)),
    }


def _roofline_share(replay: Replay, left: pl.Expr) -> pl.Expr:
    """What the roofline leaves of a product's time when so much of its bytes is left."""
    if replay.view.match is None:
        return pl.lit(1.0)
    spec = replay.view.match.spec
    read_ns = left * pl.col("moved_bytes") / spec.bandwidth_bytes_per_s * 1e9
    compute_ns = pl.col("flops") / (spec.peak("fp32") or float("inf")) * 1e9
    return pl.max_horizontal(read_ns, compute_ns) / pl.col("own_ns").clip(1)


def _on_device(replay: Replay, layers: pl.DataFrame) -> Case:
    """What is bound by latency keeps its time: a launch takes as long as before."""
    bound = layers.filter(pl.col("bound") == "memory")
    return Case(
        low=[],
        expected=[layer_times(replay, bound, pl.col("likely"))],
        high=[layer_times(replay, layers, pl.col("least"))],
    )


def _on_cpu(replay: Replay, layers: pl.DataFrame, weights: Weights) -> Case:
    """A CPU launches nothing: what its operators take beyond their bytes is the library's."""
    layers = layers.join(_calls(replay, layers), on="op_row")
    quick = replace(weights, entry_ns=weights.entry_ns // 2)
    nothing_gained = [] if weights.where_faster else [_entries(layers, weights)]
    likely = _entered(replay, layers, weights, "likely")
    return Case(
        low=nothing_gained,
        expected=likely if weights.eager_on_cpu else nothing_gained,
        high=_entered(replay, layers, quick, "least"),
    )


def _calls(replay: Replay, layers: pl.DataFrame) -> pl.DataFrame:
    """The first call of each layer's operator, and its time in the replay, without what recording cost: `op_row`, `node`, `base_ns`."""
    times_ns = replay.base.activities.select("row", "node", base_ns="dur_ns")
    rows = rows_of_layers(replay, layers.select("op_row")).select("row", "op_row")
    return rows.join(times_ns, on="row").group_by("op_row").agg(pl.col("node").min(), pl.col("base_ns").sum())  # fmt: skip


def _entered(replay: Replay, layers: pl.DataFrame, weights: Weights, left: str) -> list[Change]:
    """The layers with a share of their recorded time left, the one of that column, and what entering them costs."""
    if weights.where_faster:
        left_ns = pl.col("own_ns") * pl.col(left)
        layers = layers.filter(pl.col("base_ns") - left_ns > weights.entry_ns)
    return [layer_times(replay, layers, pl.col(left)), _entries(layers, weights)]


def _entries(layers: pl.DataFrame, weights: Weights) -> HostAdded:
    return HostAdded(layers["node"], weights.entry_ns)


def _assumptions(replay: Replay, layers: pl.DataFrame, weights: Weights) -> list[str]:
    read, bits = format_bytes(int(layers["second_bytes"].sum())), weights.bits
    if not replay.view.is_host:
        bound = layers.filter(pl.col("bound") == "memory").height
        return [
            f"{format_count(bound, 'linear layer call')} bound by memory read weights of {bits} bits instead of {read} in all; "
            "high: those bound by latency shrink as much",
            "low: nothing is gained, because the weights are written out in full before each product (eager mode does)",
        ]
    calls = format_count(layers.height, "linear layer call")
    read_less = f"{calls} with few rows read weights of {bits} bits instead of {read} in all"
    entry = (
        f"{format_ns(weights.entry_ns)} more to enter, as measured on one CPU (high: half of it)"
    )
    if weights.where_faster:
        return [
            f"{read_less}, where that gains more than it takes: a call takes {entry}{_how_fast(weights)}",
            "low: every layer keeps what it has",
        ]
    return [
        f"{read_less}{_how_fast(weights) if weights.eager_on_cpu else '; high: their product takes its roofline'}",
        f"a call takes {entry}",
        _nothing_gained(weights),
    ]


def _nothing_gained(weights: Weights) -> str:
    if weights.eager_on_cpu:
        return "low: the calls are entered, and nothing is gained"
    return (
        "low and expected: the calls are entered, and nothing is gained, because the weights are written out in full before each "
        "product (eager mode does on a CPU, where 0.3 to 1.2 times the speed was measured)"
    )


def _how_fast(weights: Weights) -> str:
    """What is assumed of another library's products on a CPU."""
    unpacked = f", which take as long to unpack as {weights.bits_on_cpu} bits to read" * (
        weights.bits_on_cpu > weights.bits
    )
    return (
        f"{unpacked}; the product of another library reaches {format_share(PRODUCT_EFFICIENCY)} of its roofline, with one row "
        f"{format_share(ONE_ROW_EFFICIENCY)}, or is as far from it as the recorded one where that is nearer; high: it takes its roofline"
    )


def times(activities: pl.DataFrame, left: pl.Expr) -> Shortened:
    """Activities with a share of their time left."""
    return Shortened(activities.select("row", left_ns=(pl.col("dur_ns") * left).round()))


def layer_times(replay: Replay, layers: pl.DataFrame, left: pl.Expr) -> Shortened:
    """The activities of layers' operators with a share of their time left."""
    share = layers.select("op_row", left=left)
    return times(rows_of_layers(replay, share), pl.col("left"))


def rows_of_layers(replay: Replay, layers: pl.DataFrame) -> pl.DataFrame:
    """All activities of the layers' operators: `row`, `op_row`, `dur_ns`, and `left` where the layers have it."""
    costed = with_costs(replay.view).select("row", "op_row", "dur_ns")
    return costed.join(
        layers.select("op_row", *(["left"] * ("left" in layers.columns))), on="op_row"
    )
