"""Findings about activities: one planted trace where the rule fires, with numbers worked out by hand, and one where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from finding_rules import check, ended_by, found

from fixtures import planted
from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, ALL_REDUCE, BMM, GEMM, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmprof.analyzers.view import View

    ViewOf = Callable[[TraceBuilder], View]

BF16 = "c10::BFloat16"
SGEMM = "ampere_sgemm_128x64_tn"
TF32_GEMM = "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x64x32_cublas"
S1688_GEMM = "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_16x5_nn_align4>(Params)"


def kernels(
    t: TraceBuilder, name: str, operator: str, spans: Sequence[tuple[int, int]], **shapes: Any
) -> TraceBuilder:
    """One operator a kernel, all of them launched before the first kernel starts."""
    for index, span in enumerate(spans):
        at = 1_000 * index
        with t.op(operator, at, at + 900, **shapes):
            t.launch(name, at=at + 100, call_ns=500, kernel=span)
    return t


def product(
    m: int, n: int, k: int, *, dtype: str = BF16, name: str = GEMM, ns: int = 10_000
) -> TraceBuilder:
    """One product of two matrices on an H100."""
    shapes = {"dims": [[m, k], [k, n]], "types": [dtype, dtype]}
    return kernels(TraceBuilder(), name, "aten::mm", [(10_000, 10_000 + ns)], **shapes)


# --- MM103 ------------------------------------------------------------------------------------------------------------


def test_short_unfused_attention_is_bound_by_what_a_kernel_takes(view_of: ViewOf) -> None:
    match = found("MM103", view_of(planted.attention_chain()[0]))
    # Three chains of 4 + 3 + 4 us. Rooflines are below a nanosecond each: a fused kernel takes the 3 us of the shortest.
    assert (match.time_ns, match.removable_ns, match.count) == (33_000, 24_000, 9)
    # At half of its roofline it takes 6 us: 33 - 18 of 24 can be expected.
    assert match.expected_share == pytest.approx(15 / 24)
    assert "in 3 chains" in match.title
    assert match.title.endswith("fused kernels need 9.00 us at least")


def long_attention(hardware: str | None = None) -> TraceBuilder:
    """Sixteen heads of 4,096 tokens, 1.2 ms."""
    t = TraceBuilder(hardware=hardware)
    scores, head = [16, 4096, 4096], [16, 4096, 64]
    with t.op("aten::bmm", 0, 900, dims=[head, [16, 64, 4096]], types=[BF16, BF16]):
        t.launch(BMM, at=100, call_ns=500, kernel=(10_000, 310_000))
    with t.op("aten::_softmax", 1_000, 1_900, dims=[scores, [], []], types=[BF16, "", ""]):
        t.launch(SOFTMAX, at=1_100, call_ns=500, kernel=(310_000, 910_000))
    with t.op("aten::bmm", 2_000, 2_900, dims=[scores, head], types=[BF16, BF16]):
        t.launch(BMM, at=2_100, call_ns=500, kernel=(910_000, 1_210_000))
    return t


def test_long_unfused_attention_is_bound_by_its_arithmetic(view_of: ViewOf) -> None:
    match = found("MM103", view_of(long_attention()))
    # 2 x 2 x 16 x 4096 x 4096 x 64 FLOP at 989.4 TFLOP/s are 69,455 ns; 33.6 MB of Q, K, V and O are less
    assert (match.time_ns, match.removable_ns) == (1_200_000, 1_200_000 - 69_455)


def test_unfused_attention_on_an_unknown_device_keeps_its_products(view_of: ViewOf) -> None:
    t = long_attention()
    t.metadata(deviceProperties=[])
    match = found("MM103", view_of(t))
    assert (match.time_ns, match.removable_ns) == (1_200_000, 600_000)
    assert "fused kernels need" not in match.title


def test_no_attention_finding_for_products_without_softmax(view_of: ViewOf) -> None:
    assert check("MM103", view_of(planted.fully_busy()[0])) is None


# --- MM104 ------------------------------------------------------------------------------------------------------------


def test_decoding_reads_weights(view_of: ViewOf) -> None:
    match = found("MM104", view_of(product(1, 4096, 4096, ns=15_000)))
    # 33,554,432 of 33,570,816 bytes are weights; int4 leaves a quarter of them: 15,000 x 0.99951 x 0.75
    assert (match.time_ns, match.removable_ns) == (15_000, 11_244)
    assert match.expected_share == pytest.approx(2 / 3)
    assert "in 1 call of linear layers with at most 1 row, to read 32.0 MiB" in match.title
    assert match.title.endswith("at 2.24 TB/s")  # 33,554,432 bytes in 15,000 ns


@pytest.mark.parametrize(
    ("built", "why"),
    [
        (product(64, 4096, 4096, ns=15_000), "many rows"),
        (product(1, 4096, 4096, ns=200_000), "bound by latency"),
        (product(1, 4096, 4096, dtype="signed char", ns=15_000), "int8 already"),
    ],
)
def test_other_layers_do_not_only_read_weights(
    view_of: ViewOf, built: TraceBuilder, why: str
) -> None:
    assert check("MM104", view_of(built)) is None, why


# --- MM105 ------------------------------------------------------------------------------------------------------------


def cache_trace() -> TraceBuilder:
    """A cache appended to by concatenation (4 us) and then reordered for two beams (6 us)."""
    t = TraceBuilder()
    past, new = [2, 8, 100, 64], [2, 8, 1, 64]
    with (
        t.annotation("kv_cache_update", 0, 2_000),
        t.op("aten::cat", 100, 1_900, dims=[[past, new], []]),
    ):
        t.launch(ADD, at=200, call_ns=500, kernel=(10_000, 14_000))
    types = [BF16, "Scalar", "long int"]
    with t.op("aten::index_select", 2_000, 3_000, dims=[past, [], [2]], types=types):
        t.launch(ADD, at=2_100, call_ns=500, kernel=(14_000, 20_000))
    return t


def test_both_ways_of_copying_a_cache_are_counted(view_of: ViewOf) -> None:
    match = found("MM105", view_of(cache_trace()))
    assert (match.time_ns, match.removable_ns, match.lever) == (10_000, 10_000, "cache_reorder")
    assert match.title == (
        "The KV cache is copied as a whole: 4.00 us (40.0 %) to append to it, 1 copy; "
        "6.00 us (60.0 %) to reorder it, 1 copy"
    )


@pytest.mark.parametrize(
    ("device", "lever"), [("cpu", "growing_kv_cache"), ("cuda", "static_kv_cache")]
)
def test_what_appends_in_place_depends_on_the_device(
    device: str, lever: str, view_of: ViewOf
) -> None:
    past, new = [2, 8, 100, 64], [2, 8, 1, 64]
    t = TraceBuilder("cpu") if device == "cpu" else TraceBuilder()
    with (
        t.annotation("kv_cache_update", 0, 20_000),
        t.op("aten::cat", 100, 19_900, dims=[[past, new], []]),
    ):
        if device != "cpu":
            t.launch(ADD, at=200, call_ns=500, kernel=(10_000, 14_000))
    assert found("MM105", view_of(t)).lever == lever


def test_writing_a_static_cache_in_place_is_no_copy(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with (
        t.annotation("kv_cache_update", 0, 2_000),
        t.op("aten::index_copy_", 100, 1_900, dims=[[2, 8, 100, 64], [], [1], [2, 8, 1, 64]]),
    ):
        t.launch(ADD, at=200, call_ns=500, kernel=(10_000, 14_000))
    view = view_of(t)
    assert view.activities["class"].to_list() == ["kv_cache_update"]
    assert check("MM105", view) is None


# --- MM106 ------------------------------------------------------------------------------------------------------------


def fp32_product(name: str, hardware: str = "a100") -> TraceBuilder:
    shapes = {"dims": [[1024, 1024], [1024, 1024]], "types": ["float", "float"]}
    t = TraceBuilder(hardware=hardware)
    return kernels(t, name, "aten::mm", [(10_000, 210_000)], **shapes)


def test_fp32_product_on_ordinary_units(view_of: ViewOf) -> None:
    match = found("MM106", view_of(fp32_product(SGEMM)))
    # TF32 has 156 of fp32's 19.5 TFLOP/s: an eighth of 200 us remains; 12.6 MB take 8.1 us
    assert (match.time_ns, match.removable_ns, match.lever) == (200_000, 175_000, "tf32")
    assert match.title.endswith("TF32 has 8.0 times the peak")


@pytest.mark.parametrize("name", [TF32_GEMM, S1688_GEMM])
def test_fp32_product_on_matrix_units_is_fast_already(view_of: ViewOf, name: str) -> None:
    assert check("MM106", view_of(fp32_product(name))) is None


def test_no_fp32_finding_on_an_unknown_device(view_of: ViewOf) -> None:
    t = fp32_product(SGEMM)
    t.metadata(deviceProperties=[])
    assert check("MM106", view_of(t)) is None


def test_fp32_convolution_without_a_cost_counts_by_its_types(view_of: ViewOf) -> None:
    t = TraceBuilder(hardware="a100")
    shapes = {"dims": [[32, 64, 56, 56], [64, 64, 1, 1]], "types": ["float", "float"]}
    name = "void implicit_convolve_sgemm<float, float, 1024, 5, 5>(int, int, int)"
    kernels(t, name, "aten::cudnn_convolution", [(10_000, 90_000)], **shapes)
    match = found("MM106", view_of(t))
    assert (match.time_ns, match.removable_ns) == (80_000, 70_000)


# --- MM107 ------------------------------------------------------------------------------------------------------------


def test_pageable_copy_counts_its_call_and_the_way_back(view_of: ViewOf) -> None:
    match = found("MM107", view_of(planted.pageable_copy()[0]))
    # copy 25, the call before it 15..20, the synchronization after it 45.5..50
    assert (match.time_ns, match.removable_ns, match.count) == (34_500, 34_500, 1)
    assert match.title.endswith(
        "1 copy between host and device that hold the host, 24.4 KiB in all"
    )


def copies(*kinds: str) -> TraceBuilder:
    """Copies of 20 us each, whose calls return when they are done."""
    t = TraceBuilder()
    for index, kind in enumerate(kinds):
        at = 100_000 * index
        with t.op("aten::copy_", at, at + 30_000):
            copy = (at + 5_000, at + 25_000)
            t.memcpy(kind, at=at + 1_000, call_ns=25_000, copy=copy, nbytes=1 << 20)
    return t


def test_pinned_memory_is_not_to_be_pinned(view_of: ViewOf) -> None:
    match = found("MM107", view_of(copies("HtoD (Pinned -> Device)")))
    assert match.lever == "sync_removal"
    assert match.title.endswith("; the host memory is pinned already")


def test_the_kind_of_memory_that_takes_longer_picks_the_lever(view_of: ViewOf) -> None:
    pageable, pinned = "HtoD (Pageable -> Device)", "DtoH (Device -> Pinned)"
    match = found("MM107", view_of(copies(pageable, pageable, pinned)))
    assert match.lever is None  # the rule's, pinned_memory
    assert match.title.endswith("; that of 1 of them is pinned already")
    assert found("MM107", view_of(copies(pageable, pinned, pinned))).lever == "sync_removal"


@pytest.mark.parametrize("kind", ["HtoD (Pinned -> Device)", "DtoD (Device -> Device)"])
def test_a_copy_that_the_host_does_not_wait_for(view_of: ViewOf, kind: str) -> None:
    t = TraceBuilder()
    with t.op("aten::copy_", 0, 3_000):
        t.memcpy(kind, at=1_000, call_ns=1_000, copy=(5_000, 25_000), nbytes=1 << 20)
    assert check("MM107", view_of(t)) is None


def test_the_copy_of_one_value_is_left_to_synchronization(view_of: ViewOf) -> None:
    assert check("MM107", view_of(planted.sync()[0])) is None


# --- MM108, MM119 -----------------------------------------------------------------------------------------------------


def test_short_kernels(view_of: ViewOf) -> None:
    match = found("MM108", view_of(planted.short_kernels()[0]))
    assert (match.time_ns, match.removable_ns, match.count) == (30_000, 30_000, 20)
    assert match.title == (
        "20 of 20 kernels are shorter than their launch or than 5.00 us (median 1.50 us); "
        "the 20 that could be fused take 30.0 us (15.7 %)"
    )


def test_a_kernel_shorter_than_its_call_is_short(view_of: ViewOf) -> None:
    t = TraceBuilder()
    for at in range(0, 200_000, 10_000):
        with t.op("aten::add", at, at + 9_500):
            t.launch(ADD, at=at + 1_000, call_ns=8_000, kernel=(at + 9_000, at + 16_000))
    assert found("MM108", view_of(t)).count == 20


def test_a_few_short_kernels_are_not_many(view_of: ViewOf) -> None:
    spans = [(10_000 * (1 + i), 10_000 * (1 + i) + 1_000) for i in range(19)]
    assert check("MM108", view_of(kernels(TraceBuilder(), ADD, "aten::add", spans))) is None


def test_a_chain_keeps_its_longest_kernel(view_of: ViewOf) -> None:
    spans = [(10_000, 20_000), (20_000, 40_000), (40_000, 46_000), (46_000, 47_000)]
    view = view_of(kernels(TraceBuilder(), ADD, "aten::add", spans))
    match = found("MM119", view)
    # 10 + 20 + 6 us; the last is short, and short kernels have a rule of their own
    assert (match.time_ns, match.removable_ns, match.count) == (36_000, 16_000, 3)
    assert match.events == ended_by(view, [20_000, 10_000, 40_000])


def test_a_product_or_another_stream_ends_a_chain(view_of: ViewOf) -> None:
    t = TraceBuilder()
    with t.op("aten::add", 0, 900):
        t.launch(ADD, at=100, call_ns=500, kernel=(10_000, 20_000))
    with t.op("aten::mm", 1_000, 1_900):
        t.launch(GEMM, at=1_100, call_ns=500, kernel=(20_000, 30_000))
    with t.op("aten::add", 2_000, 2_900):
        t.launch(ADD, at=2_100, call_ns=500, kernel=(30_000, 40_000))
    with t.op("aten::add", 3_000, 3_900):
        t.launch(ADD, at=3_100, call_ns=500, kernel=(40_000, 50_000), stream=20)
    assert check("MM119", view_of(t)) is None


def test_compiled_kernels_are_fused_already(view_of: ViewOf) -> None:
    spans = [(10_000, 20_000), (20_000, 40_000)]
    name = "triton_poi_fused_add_mul_0"
    assert check("MM119", view_of(kernels(TraceBuilder(), name, "aten::add", spans))) is None


# --- MM112, MM113 -----------------------------------------------------------------------------------------------------


def test_rows_that_do_not_fit_the_matrix_units(view_of: ViewOf) -> None:
    match = found("MM112", view_of(product(64, 99, 100)))
    # k = 100 and n = 99; the roofline is 45,272 bytes at 3.35 TB/s: 13 ns
    assert (match.time_ns, match.removable_ns) == (10_000, 9_987)
    assert "most of it at m=64, n=99, k=100" in match.title


@pytest.mark.parametrize(
    ("built", "why"),
    [
        (product(63, 104, 128), "only the number of rows is odd"),
        (product(1, 99, 100), "a product of a vector uses no matrix unit"),
        (product(64, 99, 100, dtype="float"), "fp32"),
    ],
)
def test_products_that_alignment_does_not_slow(
    view_of: ViewOf, built: TraceBuilder, why: str
) -> None:
    assert check("MM112", view_of(built)) is None, why


def test_a_transposed_factor_is_judged_by_the_extent_that_is_contiguous(view_of: ViewOf) -> None:
    t = TraceBuilder()
    args = {"Input Strides": [[1, 64], [104, 1]]}
    shapes = {"dims": [[64, 99], [99, 104]], "types": [BF16, BF16], "args": args}
    kernels(t, GEMM, "aten::mm", [(10_000, 20_000)], **shapes)
    assert check("MM112", view_of(t)) is None  # k = 99 is contiguous in neither factor


def wide(blocks: int, ns: int = 20_000) -> TraceBuilder:
    t = TraceBuilder()
    args = {"grid": [blocks, 1, 1]}
    with t.op("aten::sum", 0, 900):
        t.launch(ADD, at=100, call_ns=500, kernel=(10_000, 10_000 + ns), args=args)
    return t


def test_few_blocks_leave_multiprocessors_idle(view_of: ViewOf) -> None:
    match = found("MM113", view_of(wide(4)))
    assert (match.time_ns, match.removable_ns) == (20_000, 19_393)  # 20,000 x (1 - 4 / 132)
    assert match.title.endswith("for the 132 multiprocessors, most of it with 4 blocks")


@pytest.mark.parametrize(("blocks", "ns"), [(67, 20_000), (4, 9_000)])
def test_most_of_the_device_or_a_short_kernel(view_of: ViewOf, blocks: int, ns: int) -> None:
    assert check("MM113", view_of(wide(blocks, ns))) is None


def test_collectives_have_few_blocks_on_purpose(view_of: ViewOf) -> None:
    t = TraceBuilder()
    args = {"grid": [4, 1, 1]}
    t.launch(ALL_REDUCE, at=100, call_ns=500, kernel=(10_000, 60_000), args=args)
    assert check("MM113", view_of(t)) is None


# --- MM114, MM115 -----------------------------------------------------------------------------------------------------


def test_only_exposed_communication_counts(view_of: ViewOf) -> None:
    match = found("MM114", view_of(planted.exposed_communication()[0]))
    assert (match.time_ns, match.removable_ns, match.count) == (25_000, 25_000, 1)
    assert match.title == (
        "Communication is exposed for 25.0 us (45.5 %), of 40.0 us in 1 collective kernel"
    )


def test_no_communication_on_one_device(view_of: ViewOf) -> None:
    assert check("MM114", view_of(planted.fully_busy()[0])) is None


@pytest.mark.parametrize(("shape", "lever"), [([64, 64], "dtype"), ([2, 64, 64], "torch_compile")])
def test_conversions_of_weights_and_of_activations(
    view_of: ViewOf, shape: list[int], lever: str
) -> None:
    t = TraceBuilder()
    shapes = {"dims": [shape, shape, []], "types": [BF16, "float", "Scalar"]}
    kernels(t, ADD, "aten::copy_", [(10_000, 20_000), (30_000, 40_000)], **shapes)
    match = found("MM115", view_of(t))
    assert (match.time_ns, match.removable_ns, match.lever) == (20_000, 20_000, lever)
    assert f"most: fp32 to bf16 of {'x'.join(map(str, shape))}, 2 times" in match.title


@pytest.mark.parametrize("types", [[BF16, BF16, "Scalar"], ["float", "long int", "Scalar"], []])
def test_copies_that_convert_no_floating_type(view_of: ViewOf, types: list[str]) -> None:
    t = TraceBuilder()
    dims = [[64, 64], [64, 64], []]
    kernels(t, ADD, "aten::copy_", [(10_000, 20_000)], dims=dims, types=types)
    assert check("MM115", view_of(t)) is None
