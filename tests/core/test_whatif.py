"""Replays of windows: exact without changes, and with each change what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.builder import TraceBuilder
from fixtures.planted import (
    ADD,
    GEMM,
    PLANTED,
    Planted,
    attention_chain,
    cpu_nested,
    dependency,
    fully_busy,
    graph,
    launch_starvation,
    short_kernels,
    sync,
)
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import (
    Case,
    Change,
    Collapsed,
    HostScaled,
    Predicted,
    Removed,
    Replaced,
    Replay,
    Shortened,
    Unwaited,
    predicted,
)
from mmprof.analyzers.whatif.attention import fused_attention
from mmprof.analyzers.whatif.by_hand import BY_HAND
from mmprof.analyzers.whatif.caches import growing_cache, shared_by_beams, static_cache
from mmprof.analyzers.whatif.fusion import compiled, graphed
from mmprof.analyzers.whatif.precision import (
    float8_products,
    half_precision,
    int8_products,
    tensor_float,
)
from mmprof.analyzers.whatif.repeats import repeated_encoder
from mmprof.analyzers.whatif.steps import capturable
from mmprof.analyzers.whatif.waits import without_state, without_waits
from mmprof.analyzers.whatif.weights import Weights, small_weights
from tests.conftest import ROOT
from tests.core import random_traces

RECORDED = sorted((ROOT / "fixtures").rglob("*.json.gz"))
GOOD = (
    "hta/trace_diff/control/control.json.gz",
    "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
    "tracelens/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "tracelens/inference/vllm_decode_full/graph_execution.json.gz",
    "tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz",
    "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz",
    "tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "tracelens/perf_model/normalization/normalization_layer_test.json.gz",
    "tracelens/torch_compile_triton/trace.json.gz",
)
GATHER = (
    "void at::native::(anonymous namespace)::indexSelectLargeIndex<float, long, unsigned int, 2>()"
)
ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevComm*, unsigned long, ncclWork*)"
BF16 = ["c10::BFloat16", "c10::BFloat16"]

ViewOf = Callable[[TraceBuilder], View]
Predict = Callable[[Replay], Predicted]


def replay_of(view_of: ViewOf, planted: Callable[[], Planted]) -> Replay:
    return Replay(view_of(planted()[0]))


def launches(t: TraceBuilder, count: int, *, every: int = 10_000, start: int = 0) -> None:
    """GEMMs of 1.5 us, each 3 us after the begin of its launch call of 2 us, which begins 3 us into its operator of 8."""
    for at in range(start, start + count * every, every):
        with t.op("aten::mm", at, at + 8_000):
            t.launch(GEMM, at=at + 3_000, call_ns=2_000, kernel=(at + 6_000, at + 7_500))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.__name__)
def test_without_changes_the_window_is_the_measured_one(
    view_of: ViewOf, planted: Callable[[], Planted]
) -> None:
    built, expected = planted()
    assert Replay(view_of(built)).with_changes(()) == expected["window_ns"]


@settings(max_examples=60, derandomize=True)
@given(random_traces.traces())
def test_without_changes_any_window_is_the_measured_one(events: list[dict[str, object]]) -> None:
    for view in random_traces.views(random_traces.loaded(events)):
        assert Replay(view).with_changes(()) == view.window_ns


def test_what_was_launched_before_the_recording_counts_from_its_begin(view_of: ViewOf) -> None:
    # what nobody launched begins at 3, and not at 3 less the 1.5 us between the first call and the first activity; the second
    # kernel waits for it, not for its own launch
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=500, kernel=(1_500, 2_000))
    t.carry_in(GEMM, 3_000, 6_000)
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(7_000, 8_000))
    replay = Replay(view_of(t))
    assert replay.with_changes(()) == replay.window_ns == 6_500


@settings(max_examples=30, derandomize=True)
@given(random_traces.traces(), st.data())
def test_removing_time_never_lengthens_the_window(
    events: list[dict[str, object]], data: st.DataObject
) -> None:
    view = random_traces.views(random_traces.loaded(events))[0]
    replay = Replay(view)
    rows = data.draw(st.lists(st.sampled_from(view.selected["row"].to_list()))) if view.selected.height else []  # fmt: skip
    some = pl.Series(rows, dtype=pl.UInt32).unique()
    changes: list[Change] = [
        HostScaled(data.draw(st.floats(0, 1))),
        Removed(some.head(len(some) // 2)),
        Shortened(pl.DataFrame({"row": some, "left_ns": [3] * len(some)}, schema_overrides={"row": pl.UInt32})),
        Unwaited(),
    ]  # fmt: skip
    lengths = [replay.with_changes(changes[:count]) for count in range(len(changes) + 1)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] >= 0
    assert replay.with_changes(changes[::-1]) == lengths[-1]


def test_host_time_shrinks_between_launches_and_in_them(view_of: ViewOf) -> None:
    # a launch every 10 us: 8 between the calls, 2 in them; half of both leaves 5. The first launch stays at 3 us.
    # kernels 3 us after their launch: first at 6, last at 3 + 19 x 5 + 3 = 101, until 102.5
    replay = replay_of(view_of, short_kernels)
    assert replay.with_changes([HostScaled(0.5)]) == 102_500 - 6_000


def test_a_launch_bound_window_cannot_shrink_below_its_kernels(view_of: ViewOf) -> None:
    # all launches at once: kernels of 1.5 us with the fallback lag of 1 us between queued ones
    replay = replay_of(view_of, short_kernels)
    assert replay.with_changes([HostScaled(0.0)]) == 20 * 1_500 + 19 * 1_000


def test_without_the_wait_the_host_launches_ahead(view_of: ViewOf) -> None:
    # the wait begins at 12.0 without the operator's half microsecond and returns at once; 10 us of Python and dispatch later
    # the launch at 22, whose kernel would start at 28 but for the copy until 52: window 10..56
    assert replay_of(view_of, sync).with_changes([Unwaited()]) == 46_000


def test_a_wait_ends_when_the_work_does(view_of: ViewOf) -> None:
    # the first kernel ends 30 us earlier, so do the copy, the wait, and all that follows: window 10..50
    replay = replay_of(view_of, sync)
    first = pl.DataFrame({"row": [0], "left_ns": [10_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(first)]) == 70_000 - 30_000


def test_launches_of_a_graph_are_one(view_of: ViewOf) -> None:
    # the graph's call takes 10 us from 3; its first kernel starts at 14, 8 us later than with a call of 2 us.
    # then 1.5 us of kernel and 1 us of lag, 20 times: until 14 + 19 x 2.5 + 1.5 = 63
    t = TraceBuilder()
    launches(t, 20)
    replay = Replay(view_of(t))
    steps = capturable(replay)
    assert steps.groups["group"].n_unique() == 1
    assert not steps.repeated
    assert replay.with_changes([Collapsed(steps.groups, 10_000)]) == 63_000 - 14_000


def test_a_removed_activity_takes_its_launch_along(view_of: ViewOf) -> None:
    # of a pair, one launch keeps its 10 us and the other its 2 us of Python: the last of ten at 3 + 9 x 12 = 111, its kernel
    # at 114..115.5
    replay = replay_of(view_of, short_kernels)
    every_second = replay.view.selected["row"].gather_every(2, 1)
    assert replay.with_changes([Removed(every_second)]) == 115_500 - 6_000


def test_queued_kernels_follow_a_shorter_one(view_of: ViewOf) -> None:
    replay = replay_of(view_of, fully_busy)
    second = pl.DataFrame({"row": [1], "left_ns": [5_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(second)]) == 30_000
    assert replay.with_changes([Replaced(second)]) == 30_000


def test_shortening_does_not_lengthen_but_replacing_may(view_of: ViewOf) -> None:
    replay = replay_of(view_of, fully_busy)
    longer = pl.DataFrame({"row": [1], "left_ns": [25_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(longer)]) == 40_000
    assert replay.with_changes([Replaced(longer)]) == 50_000


def test_a_stream_waits_for_another(view_of: ViewOf) -> None:
    # stream 20 waits for the kernel of stream 7 and starts 5 us after it, now at 20 + 5: window 10..40
    replay = replay_of(view_of, dependency)
    first = pl.DataFrame({"row": [0], "left_ns": [10_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(first)]) == 30_000


def test_nodes_of_a_graph_follow_each_other(view_of: ViewOf) -> None:
    replay = replay_of(view_of, graph)
    node = pl.DataFrame({"row": [1], "left_ns": [4_000]}, schema_overrides={"row": pl.UInt32})
    assert replay.with_changes([Shortened(node)]) == 58_000 - 6_000


def test_on_a_cpu_only_the_work_is_left(view_of: ViewOf) -> None:
    built, expected = cpu_nested()
    replay = Replay(view_of(built))
    assert replay.with_changes([HostScaled(0.0)]) == expected["busy_ns"]
    assert replay.with_changes([HostScaled(0.0, states=("python",))]) == 50_000 - 10_000


def test_threads_take_turns(view_of: ViewOf) -> None:
    # 4 us lie between the call of one thread and that of the other; without them the second kernel starts at 3 + 3
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=3_000, kernel=(3_000, 4_000))
    with t.thread(99):
        t.launch(GEMM, at=7_000, call_ns=3_000, kernel=(10_000, 12_000))
    replay = Replay(view_of(t))
    assert replay.window_ns == 9_000
    assert replay.with_changes([HostScaled(0.0, states=("python",))]) == 5_000


def test_changes_of_the_same_time_are_not_added(view_of: ViewOf) -> None:
    replay = replay_of(view_of, short_kernels)
    once = replay.with_changes([HostScaled(0.5)])
    assert replay.with_changes([HostScaled(0.5), HostScaled(0.8)]) == once


# --- what is typical ---------------------------------------------------------------------------------------------


def test_the_error_is_what_typical_edges_do_not_explain(view_of: ViewOf) -> None:
    # of the lags 0, 0 and 40 us the median is 0: a window of 40 us instead of 80
    t = TraceBuilder()
    for at, start in ((1_000, 10_000), (3_000, 20_000), (5_000, 30_000), (7_000, 80_000)):
        t.launch(GEMM, at=at, call_ns=1_000, kernel=(start, start + 10_000))
    replay = Replay(view_of(t))
    assert (replay.with_changes(()), replay.replayed_ns) == (80_000, 40_000)
    assert not replay.reliable
    prediction, why = graphed(replay)
    assert prediction is None
    assert "misses the measured window by 50.0 %" in why


def test_other_ranks_may_hold_a_collective(view_of: ViewOf) -> None:
    # with half of the host's work, the collective ends at 121: launched at 18, 3 us before it starts. The last kernel follows it
    # by the fallback lag of 1 us, with less work of the host as well, if no other rank has less
    t = TraceBuilder()
    launches(t, 3)
    t.launch(ALL_REDUCE, at=33_000, call_ns=2_000, kernel=(36_000, 136_000))
    launches(t, 1, start=140_000)
    replay = Replay(view_of(t))
    without = [HostScaled(0.0)]
    assert replay.reliable
    assert replay.cautious_ns == 123_500 - 6_000
    assert replay.cautious_speedup(without) == 1.0
    assert replay.speedup(without) > 1.2
    case = Case(low=without, expected=without, high=without)
    prediction, _ = predicted(replay, case, rows=replay.collectives, assumptions=())
    assert prediction
    assert "1 collective wait for other ranks" in prediction.assumptions[-1]


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.name)
def test_the_fixtures_are_reproduced(path: Path) -> None:
    for view in views(load(path), Options()):
        replay = Replay(view)
        assert replay.with_changes(()) == replay.base_ns
        assert replay.base_ns <= view.window_ns
        assert replay.error < 0.02


@pytest.mark.parametrize("name", GOOD, ids=lambda name: Path(name).name)
def test_public_traces_are_reproduced(shared_traces: Path, name: str) -> None:
    for view in views(load(shared_traces / name), Options()):
        replay = Replay(view)
        assert replay.with_changes(()) == view.window_ns
        assert max(replay.error, replay.unexplained) < 0.02


def test_a_trace_with_pauses_that_nothing_explains_is_refused(shared_traces: Path) -> None:
    """One of 16 ranks: its device stands still for most of the window, and nothing that was recorded ends when it goes on."""
    path = shared_traces / "hta/negative_queue_length_values_check/rank0.json.gz"
    replay = Replay(next(views(load(path), Options())))
    assert replay.with_changes(()) == replay.window_ns
    assert not replay.reliable


def test_a_real_lever_lies_between_low_and_high(shared_traces: Path) -> None:
    """The same training with no worker and with four: the lever was pulled and measured by others."""
    before, after = (
        next(views(load(next((shared_traces / f"kineto/resnet50_num_workers_{n}").iterdir())), Options()))
        for n in (0, 4)
    )  # fmt: skip
    (loader,) = (advice for advice in BY_HAND if advice.id == "dataloader_workers")
    prediction, _ = loader.predict(Replay(before))
    assert prediction
    assert prediction.low <= before.window_ns / after.window_ns <= prediction.high


# --- levers ------------------------------------------------------------------------------------------------------


def test_graphs_of_decode_steps(view_of: ViewOf) -> None:
    # two steps of ten launches, 4 us apart: a group each
    t = TraceBuilder()
    for step in range(2):
        with t.annotation(f"decode[{step}]", step * 104_000, step * 104_000 + 100_000):
            launches(t, 10, start=step * 104_000)
    replay = Replay(view_of(t))
    prediction, _ = graphed(replay)
    assert prediction
    # a graph call of 4 x 2 us: kernels at 12, 14.5 .. 34.5..36. The host is free at 3 + 8, the next step's launch begins after
    # the host's 12 us that lie between the steps, at 23, its first kernel at 32, its last ends at 32 + 9 x 2.5 + 1.5 = 56,
    # but those of the first step end at 36, so that the second's begin at 37: until 61
    assert replay.window_ns == 104_000 + 97_500 - 6_000
    assert prediction.expected == pytest.approx(195_500 / (61_000 - 12_000), abs=1e-4)
    assert prediction.low < prediction.expected <= prediction.high
    assert prediction.evidence.count == 20


def test_a_graph_needs_launches(view_of: ViewOf) -> None:
    assert graphed(replay_of(view_of, cpu_nested))[0] is None
    prediction, why = graphed(replay_of(view_of, sync))
    assert prediction is None
    assert "no run of launches" in why


def test_a_pause_of_the_host_is_not_captured(view_of: ViewOf) -> None:
    t = TraceBuilder()
    launches(t, 4)
    launches(t, 4, start=2_000_000)
    assert capturable(Replay(view_of(t))).groups["group"].n_unique() == 2


def test_fused_attention(view_of: ViewOf) -> None:
    # each chain becomes one operator as long as its shortest kernel, 3 us: the roofline of so little is shorter.
    # a step's host keeps 2 + 22 of its 40 us: third launch at 2 + 2 x 24, kernel 54..57, window 6..57 of 6..104
    prediction, _ = fused_attention(replay_of(view_of, attention_chain))
    assert prediction
    assert prediction.expected == round(98 / 51, 4)
    assert prediction.evidence.count == 9
    assert prediction.evidence.time_ns == 33_000
    # the median latency of 4 us puts the last kernel 2 us later: the error
    assert prediction.error == pytest.approx(2 / 98)
    assert prediction.high == pytest.approx(98 / 51 * (1 + 2 / 98), abs=1e-3)


def test_attention_that_is_fused_is_left_alone(view_of: ViewOf) -> None:
    prediction, why = fused_attention(replay_of(view_of, short_kernels))
    assert prediction is None
    assert why == "no attention is written out as product, softmax and product"


def test_elementwise_kernels_fuse(view_of: ViewOf) -> None:
    # twenty additions in a row: one is left, and the host's half of it
    prediction, _ = compiled(replay_of(view_of, short_kernels))
    assert prediction
    assert "20 elementwise or normalization activities fuse into 1" in prediction.assumptions[0]


def test_half_precision_halves_what_memory_bounds(view_of: ViewOf) -> None:
    # 1 GiB read and as much written at 3.35 TB/s: 641 us of the kernel's 700; half of 700 is left, and 10 us of another kernel
    t = TraceBuilder()
    n = 2**28
    with t.op("aten::add", 0, 5_000, dims=[[n], [n], []], types=["float", "float", "Scalar"]):
        t.launch(ADD, at=1_000, call_ns=2_000, kernel=(10_000, 1_110_000))
    with t.op("aten::add", 5_000, 9_000, dims=[[8], [8], []], types=["float", "float", "Scalar"]):
        t.launch(ADD, at=6_000, call_ns=2_000, kernel=(1_110_000, 1_120_000))
    prediction, _ = half_precision(Replay(view_of(t)))
    assert prediction
    assert prediction.expected == round(1_110 / (550 + 10), 4)
    assert prediction.evidence.count == 2


def test_products_bound_by_compute_follow_the_peaks(view_of: ViewOf) -> None:
    # 8192^3 x 2 = 1.1 TFLOP at 66.9 TFLOP/s fp32: 16.4 ms; TF32 has 494.7: 66.9 / 494.7 of the kernel's 20 ms
    t = TraceBuilder()
    n = 8192
    with t.op("aten::mm", 0, 5_000, dims=[[n, n], [n, n]], types=["float", "float"]):
        t.launch("ampere_sgemm_128x64_tn", at=1_000, call_ns=2_000, kernel=(10_000, 20_010_000))
    replay = Replay(view_of(t))
    assert replay.view.match
    peaks = replay.view.match.spec.peak_flops
    prediction, _ = tensor_float(replay)
    assert prediction
    assert prediction.expected == pytest.approx(peaks["tf32"] / peaks["fp32"], rel=1e-3)


def test_small_weights_shrink_layers_of_few_rows(view_of: ViewOf) -> None:
    # 8192 x 8192 bf16 weights are 128 MiB, nearly all that is moved: int8 leaves half of 50 us
    t = TraceBuilder()
    with t.op("aten::mm", 0, 5_000, dims=[[1, 8192], [8192, 8192]], types=BF16):
        t.launch(GEMM, at=1_000, call_ns=2_000, kernel=(10_000, 60_000))
    prediction, _ = small_weights(Replay(view_of(t)), Weights())
    assert prediction
    assert prediction.low == 1.0
    assert prediction.expected == pytest.approx(2.0, abs=1e-3)
    assert half_precision(Replay(view_of(t)))[1] == "no activity works on float32"


def test_waits_and_allocations_vanish(view_of: ViewOf) -> None:
    prediction, _ = without_waits(replay_of(view_of, sync))
    assert prediction
    assert prediction.expected == round(70 / 46, 4)
    assert (
        without_waits(replay_of(view_of, fully_busy))[1]
        == "no call in the window waits for the device"
    )
    assert without_state(replay_of(view_of, launch_starvation), "allocator", "calls")[0] is None


def test_a_wait_is_placed_where_the_code_waits(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for at in range(0, 400_000, 80_000):
        with t.python("user/loop.py(41): go", at, at + 9_000), t.op("aten::mm", at, at + 8_000):
            t.launch(GEMM, at=at + 2_000, call_ns=2_000, kernel=(at + 5_000, at + 50_000))
        t.python("user/loop.py(42): stop", at + 10_000, at + 60_000)
        with t.op("aten::item", at + 10_000, at + 60_000):
            t.memcpy(
                "Memcpy DtoH (Device -> Pageable)",
                at=at + 12_000,
                call_ns=2_000,
                copy=(at + 50_000, at + 52_000),
                nbytes=4,
            )
            t.call("cudaStreamSynchronize", at + 15_000, at + 55_000)
    prediction, why = without_waits(Replay(view_of(t)))
    assert prediction, why
    assert prediction.evidence.where == "aten::item at user/loop.py:42 stop"


def encoders(t: TraceBuilder, *, width: int = 64) -> None:
    """Two calls of an encoder of one product each, and a decoder."""
    for at, columns in ((0, 64), (20_000, width)):
        with (
            t.annotation("nn.Module: speech_encoder (SpeechEncoder)", at, at + 10_000),
            t.op("aten::mm", at, at + 8_000, dims=[[64, 64], [64, columns]], types=BF16),
        ):
            t.launch(GEMM, at=at + 3_000, call_ns=2_000, kernel=(at + 6_000, at + 10_000))
    with (
        t.annotation("nn.Module: decoder (Decoder)", 40_000, 50_000),
        t.op("aten::mm", 40_000, 48_000, dims=[[64, 64], [64, 64]], types=BF16),
    ):
        t.launch(GEMM, at=43_000, call_ns=2_000, kernel=(46_000, 50_000))


def test_an_encoder_that_runs_twice_runs_once(view_of: ViewOf) -> None:
    # without the second call and the 18 us before it, the decoder's launch comes 20 us earlier: window 6..30 of 6..50
    t = TraceBuilder()
    encoders(t)
    prediction, _ = repeated_encoder(Replay(view_of(t)))
    assert prediction
    assert prediction.expected == round(44 / 24, 4)
    assert prediction.low == 1.0


def test_other_shapes_are_other_work(view_of: ViewOf) -> None:
    t = TraceBuilder()
    encoders(t, width=128)
    assert repeated_encoder(Replay(view_of(t)))[1].startswith("no encoder runs twice")


@pytest.mark.parametrize(("predict", "dtype"), [(int8_products, "int8"), (float8_products, "fp8")])
def test_products_are_rounded_first(view_of: ViewOf, predict: Predict, dtype: str) -> None:
    # 8192^3 x 2 operations in 2 ms; a byte read and half a byte written for each of the 128 MiB of activations
    t = TraceBuilder()
    n = 8192
    with t.op("aten::mm", 0, 5_000, dims=[[n, n], [n, n]], types=BF16):
        t.launch(GEMM, at=1_000, call_ns=2_000, kernel=(10_000, 2_010_000))
    replay = Replay(view_of(t))
    assert replay.view.match
    spec = replay.view.match.spec
    rounding = 1.5 * (2 * n * n) / spec.bandwidth_bytes_per_s / 2e-3
    left = spec.peak_flops["bf16"] / spec.peak_flops[dtype] + rounding
    prediction, _ = predict(replay)
    assert prediction
    assert prediction.low == 1.0
    assert prediction.expected == pytest.approx(1 / (1 - (1 - left) / 2), abs=1e-3)
    assert prediction.high == pytest.approx(1 / left, abs=1e-3)


def test_beams_share_the_cache_that_does_not_grow(view_of: ViewOf) -> None:
    # two steps reorder two caches of 10 us each: one of 7 and 8 tokens, and one that keeps its 32. Queued: 40 us are left 20
    t = TraceBuilder()
    for at, tokens in enumerate((7, 32, 8, 32)):
        dims = [[5, 16, tokens, 64], [], [5]]
        with t.op("aten::index_select", at * 2_000, at * 2_000 + 1_900, dims=dims):
            start = 10_000 + at * 10_000
            t.launch(GATHER, at=at * 2_000 + 500, call_ns=1_000, kernel=(start, start + 10_000))
    prediction, _ = shared_by_beams(Replay(view_of(t)))
    assert prediction
    assert prediction.expected == 2.0
    assert (prediction.low, prediction.evidence.count) == (round(40 / 30, 4), 4)


def test_copies_that_append_to_the_cache() -> None:
    """Four layers, keys and values, eight decode steps."""
    view = next(views(load(ROOT / "fixtures/llama-decode-h100-synthetic.json.gz"), Options()))
    prediction, _ = static_cache(Replay(view))
    assert prediction
    assert prediction.evidence.count == 4 * 2 * 8
    grown, _ = growing_cache(Replay(view))
    assert grown
    assert (grown.low, grown.expected, grown.high) == (1.0, prediction.expected, prediction.high)
    assert grown.high > 1.0


def test_on_a_cpu_half_of_an_appending_copy_stays(view_of: ViewOf) -> None:
    """Attention reads the cache from memory then. Copies of 100 us and 10 us take 50 us and 5 us."""
    t = TraceBuilder()
    with t.annotation("kv cache update", 0, 110_000):
        t.op("aten::cat", 0, 100_000)
        t.op("aten::cat", 100_000, 110_000)
    t.op("aten::mm", 110_000, 200_000)
    prediction, _ = growing_cache(Replay(view_of(t)))
    assert prediction
    assert prediction.expected == pytest.approx(200 / 145, abs=1e-4)
    assert prediction.high == pytest.approx(200 / 90, abs=1e-4)
    assert any("half of their time stays" in said for said in prediction.assumptions)


def test_without_copies_that_append_nothing_grows(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.op("aten::cat", 0, 1_000)
    assert growing_cache(Replay(view_of(t))) == (None, "no copy appends to a key-value cache")
