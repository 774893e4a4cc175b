"""H100 SXM: 989.4 TFLOP/s bf16 dense, 3.35 TB/s (NVIDIA's datasheet, by way of the device table)."""

from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ALL_REDUCE, GEMM
from mmprof.analyzers.analyses.bounds import NO_ARGUMENTS, NO_MODEL, NO_OPERATOR, bounds
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load

BF16 = ["c10::BFloat16", "c10::BFloat16"]


def matmul(
    t: TraceBuilder,
    *,
    rows: int,
    start: int,
    dur_ns: int,
    dtype: str = "c10::BFloat16",
    name: str = GEMM,
) -> None:
    """A product [rows, 4096] x [4096, 4096] at `start`."""
    with t.op(
        "aten::mm", start, start + 900, dims=[[rows, 4096], [4096, 4096]], types=[dtype, dtype]
    ):
        t.launch(name, at=start + 100, call_ns=100, kernel=(start + 1_000, start + 1_000 + dur_ns))


def found(view) -> dict[str, tuple[int, int, int]]:
    return {row.bound: (row.time_ns, row.flops, row.bytes) for row in bounds(view).bounds}


def test_one_row_is_bound_by_memory(view_of) -> None:
    t = TraceBuilder()
    matmul(t, rows=1, start=0, dur_ns=20_000)
    flops = 2 * 4096 * 4096
    moved = 2 * (4096 * 4096 + 4096 + 4096)
    # roofline = moved / 3.35e12 = 10.02 us of 20 us
    assert found(view_of(t)) == {"memory": (20_000, flops, moved)}


def test_many_rows_are_bound_by_compute(view_of) -> None:
    t = TraceBuilder()
    matmul(t, rows=4096, start=0, dur_ns=200_000)
    # 2 * 4096^3 / 989.4e12 = 138.9 us, memory 30 us
    assert found(view_of(t)) == {"compute": (200_000, 2 * 4096**3, 2 * 3 * 4096 * 4096)}


def test_less_than_a_tenth_of_the_roofline_is_latency(view_of) -> None:
    t = TraceBuilder()
    matmul(t, rows=1, start=0, dur_ns=101_000)
    assert set(found(view_of(t))) == {"latency"}


def test_an_operator_with_two_kernels_is_judged_by_both_and_counted_once(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 900, dims=[[1, 4096], [4096, 4096]], types=BF16):
        t.launch(GEMM, at=100, call_ns=100, kernel=(1_000, 11_000))
        t.launch("splitKreduce_kernel", at=300, call_ns=100, kernel=(11_000, 16_000))
    flops, moved = 2 * 4096 * 4096, 2 * (4096 * 4096 + 4096 + 4096)
    assert found(view_of(t)) == {"memory": (15_000, flops, moved)}


def test_the_kernel_that_runs_without_a_model_takes_the_outer_operators(view_of) -> None:
    t = TraceBuilder()
    with (
        t.op("aten::mm", 0, 900, dims=[[1, 4096], [4096, 4096]], types=BF16),
        t.op("my_library::kernel", 50, 800),
    ):
        t.launch(GEMM, at=100, call_ns=100, kernel=(1_000, 21_000))
    assert set(found(view_of(t))) == {"memory"}


def test_tf32_is_read_from_the_kernel(view_of) -> None:
    t = TraceBuilder()
    matmul(
        t,
        rows=4096,
        start=0,
        dur_ns=600_000,
        dtype="float",
        name="sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n",
    )
    result = bounds(view_of(t))
    # 2 * 4096^3 FLOPs at 494.7 TFLOP/s of TF32
    assert result.bounds[0].roofline_ns == pytest.approx(2 * 4096**3 / 494.7e12 * 1e9, rel=1e-3)


def test_the_bus_the_network_and_the_unknown_have_bounds_of_their_own(view_of) -> None:
    t = TraceBuilder()
    t.memcpy("HtoD (Pinned -> Device)", at=0, call_ns=500, copy=(1_000, 3_000), nbytes=1 << 20)
    with t.op("c10d::allreduce_", 600, 900):
        t.launch(ALL_REDUCE, at=700, call_ns=100, kernel=(3_000, 7_000))
    with t.op("my_library::secret", 1_000, 2_000):
        t.launch("secret", at=1_100, call_ns=100, kernel=(7_000, 15_000))
    view = view_of(t)
    assert {bound: time for bound, (time, _, _) in found(view).items()} == {
        "transfer": 2_000,
        "communication": 4_000,
        "unknown": 8_000,
    }
    assert bounds(view).roofline.coverage == pytest.approx(2 / 14)


def test_why_work_is_not_known(view_of) -> None:
    t = TraceBuilder()
    matmul(t, rows=1, start=0, dur_ns=20_000)
    t.launch("outside", at=1_000, call_ns=100, kernel=(21_000, 22_000))
    with t.op("c10d::allreduce_", 1_200, 1_400):
        t.launch(ALL_REDUCE, at=1_250, call_ns=100, kernel=(22_000, 24_000))
    with t.op("my_library::shapeless", 1_500, 1_900):
        t.launch("shapeless", at=1_600, call_ns=100, kernel=(24_000, 28_000))
    # the result of an index has the shape of indices, which no trace records
    with t.op("aten::index", 2_000, 2_400, dims=[[64, 64], []], types=["float", ""]):
        t.launch("index", at=2_100, call_ns=100, kernel=(28_000, 36_000))
    with t.op("my_library::secret", 2_500, 2_900, dims=[[64, 64]], types=["float"]):
        t.launch("secret", at=2_600, call_ns=100, kernel=(36_000, 52_000))
    assert {(row.work, row.time_ns, row.count) for row in bounds(view_of(t)).work} == {
        ("known", 20_000, 1),
        (NO_OPERATOR, 1_000, 1),
        (NO_ARGUMENTS, 2_000 + 4_000 + 8_000, 3),
        (NO_MODEL, 16_000, 1),
    }


def test_without_a_known_device_there_is_coverage_but_no_bound(view_of) -> None:
    t = TraceBuilder()
    t.metadata(deviceProperties=[{"id": 0, "name": "Experimental 9000"}])
    matmul(t, rows=1, start=0, dur_ns=20_000)
    result = bounds(view_of(t))
    assert [row.bound for row in result.bounds] == ["unknown"]
    assert [row.work for row in result.work] == ["known"]
    assert result.roofline.coverage == 1.0
    assert result.roofline.source == ""


def test_work_of_a_modelled_child_is_not_counted_again_for_its_parent(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::linear", 0, 900, dims=[[1, 4096], [4096, 4096], []], types=[*BF16, ""]):
        with t.op("aten::mm", 50, 400, dims=[[1, 4096], [4096, 4096]], types=BF16):
            t.launch(GEMM, at=100, call_ns=100, kernel=(1_000, 21_000))
        with t.op("my_library::bias", 450, 800):
            t.launch("bias", at=500, call_ns=100, kernel=(21_000, 22_000))
    assert bounds(view_of(t)).roofline.flops == 2 * 4096 * 4096


def test_the_roofline_share_is_over_the_work_of_the_device(view_of) -> None:
    t = TraceBuilder()
    matmul(t, rows=4096, start=0, dur_ns=200_000)
    t.memcpy(
        "HtoD (Pinned -> Device)", at=1_000, call_ns=500, copy=(210_000, 1_010_000), nbytes=1 << 20
    )
    # 2 * 4096^3 FLOPs at 989.4 TFLOP/s are 138.9 us of 200 us; the copy has no part in it
    assert bounds(view_of(t)).roofline.roofline_share == pytest.approx(0.6946, abs=1e-4)


SHAPED = [
    "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz",
    "tracelens/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz",
    "tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "tracelens/perf_model/normalization/normalization_layer_test.json.gz",
    "tracelens/torch_compile_triton/trace.json.gz",
    "hta/triton_example/triton_example.json.gz",
]
PARTLY_SHAPED = [
    "hta/negative_queue_length_values_check/rank0.json.gz",
    "hta/trace_diff/control/control.json.gz",
    "tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz",
]


@pytest.mark.parametrize("name", [*SHAPED, *PARTLY_SHAPED])
def test_what_real_traces_record_the_arguments_of_is_known(name: str, shared_traces) -> None:
    view = next(views(load(shared_traces / name), Options()))
    time_ns = {row.work: row.time_ns for row in bounds(view).work}
    assert sum(time_ns.values()) == view.busy_ns
    assert time_ns["known"] > 0.95 * (time_ns["known"] + time_ns.get(NO_MODEL, 0)) > 0
    if name in SHAPED:
        assert time_ns["known"] > 0.95 * view.busy_ns
