"""What levers change in a trace, beyond the first ones: each answer is worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM, cpu_nested, fully_busy
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import HostAdded, HostScaled, Replay, weights
from mmprof.analyzers.whatif.caches import rounded_cache
from mmprof.analyzers.whatif.casts import cast_once
from mmprof.analyzers.whatif.layouts import innermost_channels
from mmprof.analyzers.whatif.modes import inference
from mmprof.analyzers.whatif.modules import module_calls
from mmprof.analyzers.whatif.pointwise import blocked_attention, pointwise_attention
from mmprof.analyzers.whatif.precision import float8_products
from mmprof.analyzers.whatif.projections import joined_projections
from mmprof.analyzers.whatif.regions import ENTRY_NS, compiled_layers, repeated_regions
from mmprof.analyzers.whatif.weights import Weights, small_weights
from mmprof.tracer.lever_registry import lever_named
from tests.conftest import ROOT

ViewOf = Callable[[TraceBuilder], View]
RECORDED = ROOT / "fixtures" / "recorded"
BF16 = ["c10::BFloat16", "c10::BFloat16"]
CAST = (
    "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)"
    "::{lambda()#3}, std::array<char*, 2ul> >(int)"
)


def recorded(name: str) -> Replay:
    return Replay(next(views(load(RECORDED / f"{name}-tiny-cpu-recorded.json.gz"), Options())))


# --- what a lever costs ------------------------------------------------------------------------------------------


def test_a_price_is_paid_whatever_else_shrinks(view_of: ViewOf) -> None:
    # of 50 us 17 are not work; two calls after the first pay 3 us each, one of them twice
    built, expected = cpu_nested()
    replay = Replay(view_of(built))
    first, second, third = replay.recorded.events.filter(pl.col("row").is_not_null())["node"]
    price = HostAdded(pl.Series([first, second, third, third]), 3_000)
    assert replay.with_changes([price]) == expected["window_ns"] + 9_000
    for changes in ([price, HostScaled(0.0)], [HostScaled(0.0), price]):
        assert replay.with_changes(changes) == expected["busy_ns"] + 9_000


# --- compiled layers ---------------------------------------------------------------------------------------------


def layers(count: int) -> TraceBuilder:
    """Layers of 420 us: an addition, 400 us of Python, a product; 10 us between layers."""
    t = TraceBuilder("cpu")
    for at in range(0, count * 430_000, 430_000):
        name = f"nn.Module: model.layers.{at // 430_000} (Layer)"
        with t.annotation(name, at, at + 420_000):
            t.op("aten::add", at, at + 10_000)
            t.op("aten::mm", at + 410_000, at + 420_000)
    return t


def test_half_of_the_host_stays_and_each_layer_is_entered(view_of: ViewOf) -> None:
    # 40 us of work; 200 + 5 + 200 us of the host; the first layer is entered before the window
    prediction, _ = compiled_layers(Replay(view_of(layers(2))))
    assert prediction
    assert prediction.expected == round(850 / (40 + 405 + ENTRY_NS / 1_000), 4)
    assert prediction.low < prediction.expected < prediction.high
    assert "2 calls of layers" in prediction.assumptions[0]


def test_layers_that_do_little_are_slower_compiled(view_of: ViewOf) -> None:
    t = TraceBuilder("cpu")
    for at in range(0, 100_000, 10_000):
        with t.annotation(f"nn.Module: layers.{at // 10_000} (Layer)", at, at + 8_000):
            t.op("aten::add", at, at + 3_000)
            t.op("aten::mm", at + 5_000, at + 8_000)
    prediction, why = compiled_layers(Replay(view_of(t)))
    assert prediction is None
    assert why.startswith("nothing is gained: 0.")


def test_layers_with_a_cache_are_compiled_in_parts() -> None:
    view = recorded("llama-T-T").view
    names = module_calls(view).join(repeated_regions(view).select("row"), on="row")["name"]
    kinds = set(names.str.extract(r"\((\w+)\)$").to_list())
    assert kinds == {"LlamaMLP", "LlamaRMSNorm"}
    assert not names.str.contains(r"^model\.norm").any()


def test_layers_without_a_cache_are_compiled_whole() -> None:
    view = recorded("hstu-H-A").view
    names = module_calls(view).join(repeated_regions(view).select("row"), on="row")["name"]
    assert names.str.contains(r"^encoder\.layers\.\d \(\w+\)$").all()
    assert names.n_unique() == len(names) > 1


def test_without_modules_nothing_is_compiled_by_layer(view_of: ViewOf) -> None:
    prediction, why = compiled_layers(Replay(view_of(cpu_nested()[0])))
    assert prediction is None
    assert "no module of the trace stands under a number" in why


# --- joined projections ------------------------------------------------------------------------------------------


def projections(names: str, *, rows: tuple[int, ...]) -> TraceBuilder:
    """Products of 10 us that are queued before the first of them starts, each in a linear layer of one module."""
    t = TraceBuilder()
    with t.annotation("nn.Module: attn (Attention)", 0, 10_000 * len(names)):
        for at, (name, m) in enumerate(zip(names, rows, strict=True)):
            began, kernel = 5_000 * at, 100_000 + 10_000 * at
            with (
                t.annotation(f"nn.Module: attn.{name} (Linear)", began, began + 4_000),
                t.op("aten::mm", began, began + 4_000, dims=[[m, 512], [512, 512]], types=BF16),
            ):
                t.launch(GEMM, at=began + 1_000, call_ns=1_000, kernel=(kernel, kernel + 10_000))
    return t


def test_small_products_of_one_input_take_as_long_as_one(view_of: ViewOf) -> None:
    # 0.5 MiB a weight: 0.2 us at the H100's bandwidth, so that three products of 10 us are bound by latency
    prediction, _ = joined_projections(Replay(view_of(projections("qkv", rows=(4, 4, 4)))))
    assert prediction
    assert prediction.low == 1.0
    assert prediction.expected == pytest.approx(1.0, abs=2e-3)
    assert prediction.high == pytest.approx(3.0, abs=2e-3)
    assert "3 linear layer calls become 1 product" in prediction.assumptions[0]


@pytest.mark.parametrize(
    ("names", "rows"), [("qk", (4, 8)), ("qq", (4, 4)), ("q", (4,))], ids=["rows", "again", "one"]
)
def test_other_products_are_not_joined(view_of: ViewOf, names: str, rows: tuple[int, ...]) -> None:
    prediction, why = joined_projections(Replay(view_of(projections(names, rows=rows))))
    assert prediction is None
    assert why.startswith("no two linear layers of a module stand side by side")


def test_the_projections_of_a_llama_are_found() -> None:
    prediction, _ = joined_projections(recorded("llama-T-T"))
    assert prediction
    # of the seven products of a layer, q, k and v are joined, and gate and up
    words = prediction.assumptions[0].replace(",", "").split()
    assert int(words[0]) * 2 == int(words[5]) * 5


# --- casts, modes, layouts ---------------------------------------------------------------------------------------


def cast(t: TraceBuilder, at: int, shape: list[int]) -> None:
    """A conversion to bfloat16 and a product with a weight of 512 inputs and 256 outputs, 10 us each."""
    types = ["c10::BFloat16", "float", "Scalar"]
    with t.op("aten::copy_", at, at + 4_000, dims=[shape, shape, []], types=types):
        t.launch(CAST, at=at + 1_000, call_ns=1_000, kernel=(at + 5_000, at + 15_000))
    with t.op("aten::mm", at + 5_000, at + 9_000, dims=[[8, 512], [512, 256]], types=BF16):
        t.launch(GEMM, at=at + 6_000, call_ns=1_000, kernel=(at + 15_000, at + 25_000))


def test_weights_are_cast_once(view_of: ViewOf) -> None:
    # two steps of 20 us, 5 apart; without its conversion a product starts 4 us after the call of its launch
    t = TraceBuilder()
    cast(t, 0, [256, 512])
    cast(t, 25_000, [256, 512])
    prediction, _ = cast_once(Replay(view_of(t)))
    assert prediction
    assert 1 < prediction.low < prediction.expected == prediction.high
    assert prediction.evidence.count == 2


def test_what_has_not_the_shape_of_a_weight_is_an_activation(view_of: ViewOf) -> None:
    t = TraceBuilder()
    cast(t, 0, [8, 512])
    cast(t, 25_000, [8, 512])
    assert cast_once(Replay(view_of(t))) == (
        None,
        "no weight is converted before the product that uses it",
    )


@pytest.mark.parametrize(("args", "left"), [({}, 0.90), ({"Sequence number": 3}, 0.85)])
def test_inference_mode_dispatches_faster(
    view_of: ViewOf, args: dict[str, int], left: float
) -> None:
    # 20 us of work, and 30 us of an operator around the second of two
    t = TraceBuilder("cpu")
    t.op("aten::relu", 0, 10_000, args=args)
    with t.op("aten::linear", 10_000, 50_000, args=args):
        t.op("aten::addmm", 40_000, 50_000, args=args)
    prediction, _ = inference(Replay(view_of(t)))
    assert prediction
    assert prediction.expected == pytest.approx(50 / (20 + 30 * left), abs=1e-3)
    assert ("ran with gradients" in prediction.assumptions[0]) == bool(args)
    assert (prediction.low == 1.0) == (not args)


def test_convolutions_of_images_come_near_their_roofline() -> None:
    prediction, _ = innermost_channels(recorded("diffusion-T-I"))
    assert prediction
    assert 1.0 == prediction.low < prediction.expected < prediction.high
    vocoder, _ = innermost_channels(recorded("seamless-S-S"))  # over time, not over an image
    assert vocoder
    assert vocoder.expected > 1.0
    assert innermost_channels(recorded("llama-T-T"))[1].startswith("no convolution of known shape")


def test_kernels_that_convert_layouts_vanish(view_of: ViewOf) -> None:
    # 10 of 30 us
    t = TraceBuilder()
    kernels = ("void cudnn::engines_precompiled::nchwToNhwcKernel<float, float>()", GEMM, GEMM)
    for at, name in enumerate(kernels):
        start = 50_000 + 10_000 * at
        t.launch(name, at=2_000 * at, call_ns=1_000, kernel=(start, start + 10_000))
    prediction, _ = innermost_channels(Replay(view_of(t)))
    assert prediction
    assert prediction.evidence.count == 1
    assert prediction.expected > 1.4


# --- caches and precision ----------------------------------------------------------------------------------------


def test_a_cache_in_int8_says_what_it_costs(view_of: ViewOf) -> None:
    prediction, why = rounded_cache(recorded("llama-T-T"))
    assert prediction is None
    assert why.startswith("it saves memory, not time")
    none = rounded_cache(Replay(view_of(fully_busy()[0])))[1]
    assert none == "no key-value cache is written in this window"


def test_a_device_without_float8_is_told() -> None:
    assert float8_products(recorded("llama-T-T"))[1].startswith("no higher peak of float8")


def test_eager_code_of_a_cpu_writes_small_weights_out() -> None:
    replay = recorded("llama-T-T")
    written, _ = small_weights(replay, Weights(eager_on_cpu=False))
    read, _ = small_weights(replay, Weights())
    assert written
    assert read
    assert written.expected == 1.0 < read.expected
    assert written.high == read.high


def test_layers_of_a_cpu_shrink_with_their_weights_however_slow_they_were(view_of: ViewOf) -> None:
    # a float32 weight of 256 MiB and 64 KiB of activations: int8 leaves a quarter of 100 ms and a bit
    t = TraceBuilder("cpu")
    t.op("aten::mm", 0, 100_000_000, dims=[[1, 8192], [8192, 8192]], types=["float", "float"])
    prediction, _ = small_weights(Replay(view_of(t)), Weights())
    assert prediction
    assert prediction.expected == pytest.approx(4.0, abs=5e-3)
    assert prediction.high == prediction.expected  # no bandwidth is known

    known, _ = small_weights(recorded("llama-T-T"), Weights())
    assert known
    assert known.high > known.expected > 1


def test_four_bits_that_take_as_long_as_sixteen_are_expected_to() -> None:
    replay = recorded("llama-T-T")
    four, _ = small_weights(replay, Weights(bits=4, bits_on_cpu=16))
    sixteen, _ = small_weights(replay, Weights(bits=16))
    read, _ = small_weights(replay, Weights(bits=4))
    assert four
    assert sixteen
    assert read
    assert four.expected == sixteen.expected < read.expected
    assert four.high > sixteen.high
    assert "as long to unpack as 16 bits" in " ".join(four.assumptions)


def test_another_library_does_not_keep_what_a_product_wastes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay, expected = recorded("llama-T-T"), {}
    for efficiency in (1e-9, weights.PRODUCT_EFFICIENCY, 1.0):
        monkeypatch.setattr(weights, "PRODUCT_EFFICIENCY", efficiency)
        monkeypatch.setattr(weights, "ONE_ROW_EFFICIENCY", efficiency)
        prediction, _ = small_weights(replay, Weights(bits=16))
        assert prediction
        expected[efficiency] = prediction.expected
    as_recorded, likely, whole = expected.values()
    assert 1.0 < as_recorded < likely < whole == prediction.high


def test_entering_another_library_costs_small_layers_more_than_they_gain(view_of: ViewOf) -> None:
    # five products of 25 us, each 75 us after the one before; half of the bytes of 64 x 64 weights save each 12.12 us, entering costs
    # each but the first, with which the window begins, 20 us
    t = TraceBuilder("cpu")
    for at in range(0, 500_000, 100_000):
        t.op("aten::mm", at, at + 25_000, dims=[[1, 64], [64, 64]], types=["float", "float"])
    replay = Replay(view_of(t))

    entered, _ = small_weights(replay, Weights(bits=16, entry_ns=20_000))
    assert entered
    assert entered.expected == pytest.approx(425 / (425 - 60.6 + 80), abs=1e-4)
    assert entered.high == pytest.approx(425 / (425 - 60.6 + 40), abs=1e-4)
    assert entered.low < 425 / 500

    chosen, _ = small_weights(replay, Weights(bits=16, entry_ns=20_000, where_faster=True))
    assert chosen
    assert chosen.low == chosen.expected == 1.0
    assert chosen.high == entered.high


def test_layers_are_chosen_one_by_one_by_their_time_without_the_profiler(view_of: ViewOf) -> None:
    # a small layer gains 12 us, a large one 51: only the large one pays 20 us to be entered
    t = TraceBuilder("cpu")
    t.op("aten::add", 0, 1_000)
    t.op("aten::mm", 100_000, 125_000, dims=[[1, 64], [64, 64]], types=["float", "float"])
    t.op("aten::mm", 200_000, 303_125, dims=[[1, 64], [64, 64]], types=["float", "float"])
    chosen, _ = small_weights(
        Replay(view_of(t)), Weights(bits=16, entry_ns=20_000, where_faster=True)
    )
    assert chosen
    assert chosen.expected == pytest.approx(303.125 / (303.125 - 50 + 20), abs=1e-4)


def test_a_call_of_several_activities_is_entered_once(view_of: ViewOf) -> None:
    t = TraceBuilder("cpu")
    t.op("aten::add", 0, 1_000)
    args = {"dims": [[1, 64], [64, 64]], "types": ["float", "float"]}
    with t.op("aten::linear", 100_000, 200_000, **args):
        t.op("aten::mm", 110_000, 150_000, **args)
        t.op("aten::copy_", 160_000, 190_000)
    replay = Replay(view_of(t))
    entered, _ = small_weights(replay, Weights(bits=16, eager_on_cpu=False, entry_ns=10_000))
    assert entered
    assert entered.expected == pytest.approx(replay.base_ns / (replay.base_ns + 10_000), abs=1e-4)


@pytest.mark.parametrize(
    ("lever", "entry"),
    [
        ("fp16_weights", "15.0 us"),
        ("autoquant", "15.0 us"),
        ("quantization_int4", "12.0 us"),
    ],
)
def test_levers_of_small_weights_count_what_entering_them_costs(lever: str, entry: str) -> None:
    prediction, why = lever_named(lever).predict(recorded("llama-T-T"))
    assert prediction, why
    assert f"a call takes {entry} more to enter" in " ".join(prediction.assumptions)
    assert ("every layer keeps what it has" in prediction.assumptions[1]) == (lever == "autoquant")


@pytest.mark.parametrize("lever", ["quantization_dynamic", "quantization_weight_only"])
def test_layers_of_a_tiny_model_lose_by_int8_even_at_best(lever: str) -> None:
    # measured: 0.76 and 0.80 times as fast
    prediction, why = lever_named(lever).predict(recorded("llama-T-T"))
    assert prediction is None
    assert why.startswith("nothing is gained: 0.9")


# --- pointwise attention -----------------------------------------------------------------------------------------


def test_pointwise_attention_is_read_as_it_is_written() -> None:
    acts = pointwise_attention(recorded("hstu-H-A").view)
    calls = acts["module"].n_unique()
    assert acts["is_product"].sum() == 2 * calls
    first = acts.filter(pl.col("module") == acts["module"][0])
    others = acts.filter(pl.col("module") != acts["module"][0])
    # the buckets of the first layer are kept; each later layer does as many operators for them
    assert not first["again"].any()
    assert others["again"].sum() % (calls - 1) == 0
    assert others["again"].any()
    # neither a product nor the activation is spared
    assert not acts.filter("is_product")["spared"].any()


def test_blocks_gain_at_least_the_buckets() -> None:
    prediction, _ = blocked_attention(recorded("hstu-H-A"))
    assert prediction
    assert 1 < prediction.low < prediction.expected < prediction.high
    why = blocked_attention(recorded("llama-T-T"))[1]
    assert why == "no attention is written out as product, activation and product"
