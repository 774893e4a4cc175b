from __future__ import annotations

import polars as pl
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM, PLANTED
from mmprof.analyzers.analyses.phases import PhaseRow, phases
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load
from mmprof.analyzers.phases import SpanTree, inference_phase, phase_spans, steps, training_phase
from mmprof.analyzers.windows import window_spans

VLLM_2026 = (
    "execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk55086sqsq32sqsk55086)"  # a real one
)


@pytest.mark.parametrize(
    ("name", "phase", "number"),
    [
        ("prefill", "prefill", None),
        ("mmprof:decode", "decode", None),
        ("mmprof/phase:decode[7]", "decode", 7),
        ("mmprof/phase:vision tower", "vision tower", None),
        ("decode[3]", "decode", 3),
        ("Decode step 3", "decode", 3),
        ("decode_3", "decode", 3),
        ("prefill[bs=2 tok=16384]", "prefill", None),
        ("execute_context_2(512)_generation_0(0)", "prefill", None),
        ("execute_context_0(0)_generation_32(32)", "decode", None),
        ("execute_context_1(8)_generation_32(32)", "mixed", None),
        ("execute_context_0(0)_generation_0(0)", "", None),
        (VLLM_2026, "decode", None),
        ("step[DECODE bs=32]", "decode", None),
        ("step[EXTEND bs=2 toks=4096]", "prefill", None),
        ("step[TARGET_VERIFY bs=4]", "verify", None),
        ("step[IDLE bs=0]", "", None),
        ("execute_diffusion_1_256x256", "diffusion", None),
        ("capture_32_FULL", "capture", None),
        ("decoder", "", None),
        ("## decoder fp8 None ##", "", None),
        ("mmprof:module", "", None),
    ],
)
def test_what_an_annotation_of_inference_says(name: str, phase: str, number: int | None) -> None:
    assert inference_phase(name) == (phase, number)


@pytest.mark.parametrize(
    ("name", "phase"),
    [("## forward ##", "forward"), ("backward", "backward"), ("## forward:bottom_mlp ##", "")],
)
def test_what_an_annotation_of_training_says(name: str, phase: str) -> None:
    assert training_phase(name).phase == phase


def spans_of(built: TraceBuilder, tmp_path) -> list[tuple]:
    return phase_spans(load(built.write(tmp_path / "t.json"))).rows()


def at_origin(spans: list[tuple]) -> list[tuple]:
    origin = spans[0][2]
    return [(phase, index, start - origin, end - origin) for phase, index, start, end in spans]


def test_instances_are_counted_where_names_have_no_numbers_of_their_own(tmp_path) -> None:
    t = TraceBuilder()
    for start in (0, 100, 200):
        t.annotation("decode", start, start + 50)
    t.annotation("prefill[7]", 300, 400)
    t.annotation("prefill[9]", 400, 500)
    assert [row[:2] for row in spans_of(t, tmp_path)] == [
        ("decode", 0),
        ("decode", 1),
        ("decode", 2),
        ("prefill", 7),
        ("prefill", 9),
    ]


def test_a_number_that_comes_twice_is_no_index(tmp_path) -> None:
    t = TraceBuilder()
    for start, name in ((0, "decode[0]"), (100, "decode[1]"), (200, "decode[0]")):
        t.annotation(name, start, start + 50)
    assert [row[1] for row in spans_of(t, tmp_path)] == [0, 1, 2]


def test_a_span_around_its_own_phase_only_groups(tmp_path) -> None:
    t = TraceBuilder()
    t.annotation("decode", 0, 1_000)
    t.annotation("decode[0]", 100, 400)
    t.annotation("decode[1]", 500, 900)
    assert at_origin(spans_of(t, tmp_path)) == [
        ("decode", None, 0, 1_000),
        ("decode", 0, 100, 400),
        ("decode", 1, 500, 900),
    ]


def test_inference_comes_before_training_and_training_before_steps(tmp_path) -> None:
    t = TraceBuilder()
    t.annotation("ProfilerStep#4", 0, 1_000)
    assert [row[:2] for row in spans_of(t, tmp_path)] == [("step", 4)]
    t.annotation("## forward ##", 100, 400)
    assert [row[0] for row in spans_of(t, tmp_path)] == ["forward"]
    t.annotation("decode", 500, 900)
    assert [row[0] for row in spans_of(t, tmp_path)] == ["decode"]


def generation(tokens: list[int]) -> TraceBuilder:
    """Calls of one model, each looking up so many tokens of one sequence."""
    t = TraceBuilder()
    for call, count in enumerate(tokens):
        start = 1_000 * call
        t.module("LlamaForCausalLM_0", start, start + 900)
        t.module("Embedding_0", start + 100, start + 300)
        shapes = {"dims": [[32_000, 64], [1, count]], "types": ["float", "long int"]}
        t.op("aten::embedding", start + 150, start + 250, **shapes)
    return t


def test_one_token_after_many_is_decoding(tmp_path) -> None:
    assert at_origin(spans_of(generation([7, 1, 1]), tmp_path)) == [
        ("prefill", 0, 0, 900),
        ("decode", 0, 1_000, 1_900),
        ("decode", 1, 2_000, 2_900),
    ]


@pytest.mark.parametrize("tokens", [[7, 7, 7], [1, 1, 1], []])
def test_calls_that_all_look_alike_are_no_phases(tokens: list[int], tmp_path) -> None:
    assert spans_of(generation(tokens) if tokens else PLANTED[0]()[0], tmp_path) == []


def test_a_step_lasts_as_recorded_where_it_crosses_the_frame_that_opened_it(tmp_path) -> None:
    t = TraceBuilder()
    t.python("torch/profiler/profiler.py(800): step", 0, 1_000)
    t.annotation("ProfilerStep#5", 500, 90_000)
    t.op("aten::add", 2_000, 3_000)
    found = steps(load(t.write(tmp_path / "t.json")))
    assert found.select("name", "index", pl.col("end_ns") - pl.col("start_ns")).rows() == [
        ("ProfilerStep#5", 5, 89_500)
    ]


def test_the_innermost_of_nested_and_crossing_spans() -> None:
    tree = SpanTree.of(pl.DataFrame({"start_ns": [0, 10, 30, 60], "end_ns": [50, 20, 70, 65]}))
    # rows: 0 = [0, 50), 1 = [10, 20), 2 = [30, 70) that outlives 0, 3 = [60, 65)
    times = pl.Series([-1, 0, 10, 20, 30, 55, 60, 65, 70])
    assert tree.containing(times).to_list() == [None, 0, 1, 0, 2, 2, 3, 2, None]
    assert tree.common(
        pl.Series([1, 1, 3, None], dtype=pl.UInt32), pl.Series([2, 1, 2, 0], dtype=pl.UInt32)
    ).to_list() == [0, 1, 2, None]


def llm() -> TraceBuilder:
    """One prefill, two decode steps, the first with a reorder of the cache, and a kernel outside."""
    t = TraceBuilder()
    t.annotation("prefill", 0, 10_000)
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(5_000, 15_000))
    t.launch(GEMM, at=6_000, call_ns=500, kernel=(20_000, 30_000))
    t.annotation("decode[0]", 40_000, 50_000)
    t.launch(GEMM, at=41_000, call_ns=500, kernel=(45_000, 55_000))
    t.annotation("kv_reorder", 44_000, 48_000)
    t.launch(ADD, at=45_000, call_ns=500, kernel=(60_000, 64_000))
    t.launch(ADD, at=49_000, call_ns=500, kernel=(66_000, 70_000))
    t.annotation("decode[1]", 72_000, 90_000)
    t.launch(GEMM, at=75_000, call_ns=500, kernel=(80_000, 90_000))
    t.launch(GEMM, at=95_000, call_ns=500, kernel=(100_000, 110_000))
    return t


def test_phases_divide_the_window(view_of) -> None:
    # gaps: 15..20 prefill, 30..45 between, 55..60 and 64..66 inside decode[0], 70..80 and 90..100 between
    rows = {row.phase: row for row in phases(view_of(llm())).phases}
    timed = {p: (r.count, r.time_ns, r.idle_ns, r.busy_ns, r.median_ns) for p, r in rows.items()}
    assert timed == {
        "decode": (2, 31_000, 7_000, 24_000, 15_500),
        "prefill": (1, 25_000, 5_000, 20_000, 25_000),
        "kv_reorder": (1, 4_000, 0, 4_000, 4_000),
        "other": (0, 45_000, 35_000, 10_000, 0),
    }
    assert list(rows) == ["decode", "prefill", "kv_reorder", "other"]
    assert rows["prefill"].idle_share == 0.2
    assert rows["decode"].class_shares == {"linear": 20 / 24, "elementwise": 4 / 24}


def test_what_lies_between_instances_of_a_group_is_of_its_phase(view_of) -> None:
    t = TraceBuilder()
    t.annotation("decode", 0, 100_000)
    for start in (0, 50_000):
        t.annotation("decode[0]", start, start + 20_000)
        t.launch(GEMM, at=start + 5_000, call_ns=500, kernel=(start + 10_000, start + 20_000))
    t.launch(ADD, at=30_000, call_ns=500, kernel=(35_000, 40_000))
    # window 10..70: instances 10..20 and 60..70, idle 20..35 and 40..60 in the group
    assert phases(view_of(t)).phases == [
        PhaseRow(
            "decode",
            2,
            60_000,
            35_000,
            25_000,
            35 / 60,
            10_000,
            {"linear": 0.8, "elementwise": 0.2},
        )
    ]


def test_instances_that_share_the_device_count_no_time_twice(view_of) -> None:
    t = TraceBuilder()
    t.annotation("prefill", 0, 9_000)
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(10_000, 60_000), stream=7)
    t.annotation("decode", 9_000, 20_000)
    t.launch(GEMM, at=10_000, call_ns=500, kernel=(30_000, 80_000), stream=20)
    rows = {row.phase: row.busy_ns for row in phases(view_of(t)).phases}
    assert rows == {"prefill": 50_000, "decode": 20_000}


def test_activities_before_the_window_belong_to_no_phase(view_of) -> None:
    t = TraceBuilder()
    t.annotation("decode", 0, 9_000)
    t.carry_in(GEMM, -5_000, 8_000)
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(10_000, 60_000))
    assert [(r.phase, r.busy_ns) for r in phases(view_of(t)).phases] == [("decode", 50_000)]


@pytest.mark.parametrize("planted", PLANTED)
def test_phases_sum_to_the_window(planted, view_of) -> None:
    built, expected = planted()
    rows = phases(view_of(built)).phases
    assert sum(row.busy_ns for row in rows) == expected["busy_ns"]
    assert sum(row.time_ns for row in rows) == expected["window_ns"]


def stepped() -> TraceBuilder:
    t = TraceBuilder()
    t.annotation("ProfilerStep#1", 0, 30_000)
    t.call("cudaDeviceSynchronize", 100, 10_000)
    t.launch(GEMM, at=12_000, call_ns=500, kernel=(20_000, 40_000))
    t.launch(GEMM, at=13_000, call_ns=500, kernel=(50_000, 60_000))
    t.annotation("ProfilerStep#2", 30_000, 80_000)
    t.launch(GEMM, at=31_000, call_ns=500, kernel=(65_000, 70_000))
    return t


def test_steps_have_their_device_time_and_say_where_the_host_span_holds_the_profilers_wait(
    view_of,
) -> None:
    fields = ("name", "time_ns", "idle_ns", "busy_ns", "host_ns", "contains_profiler_sync")
    rows = phases(view_of(stepped())).steps
    assert [tuple(getattr(row, field) for field in fields) for row in rows] == [
        ("ProfilerStep#1", 40_000, 10_000, 30_000, 30_000, True),
        ("ProfilerStep#2", 5_000, 0, 5_000, 50_000, False),
    ]


def test_a_window_shows_its_own_steps(tmp_path) -> None:
    trace = load(stepped().write(tmp_path / "t.json"))
    view = next(views(trace, Options(window="ProfilerStep#2")))
    assert [row.name for row in phases(view).steps] == ["ProfilerStep#2"]


def test_the_step_of_a_real_trace_is_the_devices(shared_traces) -> None:
    """TraceLens's total and the device's own span of this step are 34,892.4 us; the host's is 47,151."""
    path = shared_traces / "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
    trace = load(path)
    (step,) = phases(next(views(trace, Options()))).steps
    assert (step.time_ns, step.host_ns) == (34_892_419, 47_151_395)
    assert step.contains_profiler_sync


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tracelens/inference/vllm_decode_full/graph_execution.json.gz", {"decode"}),
        ("tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz", {"diffusion"}),
        ("hta/trace_diff/control/control.json.gz", {"forward", "backward", "optimizer", "other"}),
        ("kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz", {"step", "other"}),
    ],
)
def test_phases_of_real_traces_sum_to_their_window(
    name: str, expected: set[str], shared_traces
) -> None:
    view = next(views(load(shared_traces / name), Options()))
    rows = phases(view).phases
    assert {row.phase for row in rows} == expected
    assert sum(row.time_ns for row in rows) == view.window_ns
    assert sum(row.busy_ns for row in rows) == view.busy_ns


def test_a_phase_selects_what_it_counts(tmp_path) -> None:
    trace = load(llm().write(tmp_path / "t.json"))
    whole = {row.phase: row for row in phases(next(views(trace, Options()))).phases}
    view = next(views(trace, Options(window="prefill")))
    assert window_spans(trace, "prefill").height == 1
    assert (view.window_ns, view.busy_ns) == (whole["prefill"].time_ns, whole["prefill"].busy_ns)
