"""Kernels of graph replays get the operators of their counterparts in an eager twin, and only of these."""

from __future__ import annotations

import gzip
import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.builder import TraceBuilder
from fixtures.twins import (
    ADD,
    ARGMAX,
    FLASH,
    GEMM,
    MEAN,
    SILU,
    Launched,
    decoder,
    eager,
    replay,
    sampling,
)
from mmprof.analyzers.analyses.operators import operators
from mmprof.analyzers.analyze import DeviceReport, Options, analyze, views
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.module_names import module_path
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.twin import load_twin, with_twin
from mmprof.analyzers.twin_alignment import NOWHERE, Aligner, Placement, Replay, TwinKernels
from mmprof.analyzers.view import View

Answer = tuple[str, str | None, str]
Twinned = Callable[[TraceBuilder, TraceBuilder], Trace]


@pytest.fixture
def twinned(tmp_path: Path) -> Twinned:
    """The trace of the first builder with the operators of the second."""

    def both(graphs: TraceBuilder, twin: TraceBuilder) -> Trace:
        trace = load(graphs.write(tmp_path / "graphs.json"))
        return with_twin(trace, load_twin(str(twin.write(tmp_path / "twin.json"))))

    return both


def view_of(trace: Trace) -> View:
    return next(views(trace, Options()))


def answers(trace: Trace) -> list[Answer]:
    """Kernel, operator and module of each activity by start."""
    view = view_of(trace)
    columns = view.activities.sort("start_ns").select(
        pl.col("name", "operator_name").cast(pl.String), "path"
    )
    paths = view.lineage.paths
    return [(name, op, module_path(paths[code].modules)) for name, op, code in columns.iter_rows()]


def expected(launched: Sequence[Launched]) -> list[Answer]:
    return [one.answer for one in launched]


def without_operators(launched: Sequence[Launched]) -> list[Answer]:
    return [(one.kernel, None, "") for one in launched]


def eager_steps(steps: int, *parts: Sequence[Launched]) -> TraceBuilder:
    """A trace that launches the parts one after the other, so many times."""
    t, at = TraceBuilder(), 0
    for _ in range(steps):
        for part in parts:
            at = eager(t, part, at=at)
    return t


# --- whole traces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_kernel_of_every_replay_has_its_operator_and_module(
    twinned: Twinned, steps: int
) -> None:
    model, t, at = decoder(3), TraceBuilder(), 0
    for _ in range(3):
        at = eager(t, sampling(), at=replay(t, model, at=at))

    trace = twinned(t, eager_steps(steps, model, sampling()))

    assert answers(trace) == expected([*model, *sampling()] * 3)


def test_times_stay_what_they_were(tmp_path: Path) -> None:
    model, t = decoder(3), TraceBuilder()
    replay(t, model, at=replay(t, model, at=0))
    graphs = str(t.write(tmp_path / "graphs.json"))
    twin = str(eager_steps(1, model).write(tmp_path / "twin.json"))

    alone, both = (analyze([graphs], Options(twin=name)).devices[0] for name in ("", twin))

    assert alone.value("operator_coverage") == 0.0
    assert both.value("operator_coverage") == 1.0
    assert [times(report) for report in (alone, both)] == [times(alone)] * 2
    assert both.value("busy_ns") == 64_000  # 2 replays of 32 kernels of 1 us


def times(report: DeviceReport) -> dict[str, Any]:
    fields = ("window_ns", "busy_ns", "idle_ns", "idle_causes", "head_ns", "tail_ns", "launches")
    return {name: report.value(name) for name in fields}


def test_work_is_counted_once_for_each_replay(twinned: Twinned) -> None:
    model, t, at = decoder(2, rows=4), TraceBuilder(), 0
    for _ in range(3):
        at = replay(t, model, at=at)

    rows = {row.name: row for row in operators(view_of(twinned(t, eager_steps(1, model)))).ops}

    products = 3 * (2 * 4 + 1)  # replays x (layers x linears + head)
    assert rows["aten::mm"].count == rows["aten::mm"].kernels == products
    assert rows["aten::mm"].flops == products * 2 * 4 * 64 * 64
    assert rows["aten::linear"].total_time_ns == products * 1_000
    assert rows["aten::mm"].host_calls == 0  # nothing was called here


def test_what_was_aligned_is_in_the_result(tmp_path: Path) -> None:
    model = decoder(2)
    t = TraceBuilder()
    eager(t, sampling(), at=replay(t, [*model, Launched("new_kernel", "")], at=0))
    graphs = str(t.write(tmp_path / "graphs.json"))
    twin = str(eager_steps(1, model).write(tmp_path / "twin.json"))

    report = analyze([graphs], Options(twin=twin))

    found = report.devices[0].value("twin")
    assert (found.graph_activities, found.aligned_activities) == (23, 22)
    assert (found.graph_time_ns, found.aligned_time_ns) == (23_000, 22_000)
    assert found.aligned_share == 22 / 23
    assert [note.code for note in report.notes] == ["MM-N025"]
    assert report.notes[0].message.startswith("22 of 23 kernels in graph replays (95.7 % ")
    assert analyze([graphs]).devices[0].value("twin") is None


def test_two_batch_sizes_are_told_apart_by_their_grids(twinned: Twinned) -> None:
    small, large, t = decoder(2, rows=1), decoder(2, rows=8), TraceBuilder()
    replay(t, small, at=replay(t, large, at=0))

    trace = twinned(t, eager_steps(2, small, large))

    assert answers(trace) == expected([*large, *small])
    shapes = {
        row.dims: row.count for row in operators(view_of(trace)).op_shapes if row.name == "aten::mm"
    }
    assert shapes == {"[[8,64],[64,64]]": 9, "[[1,64],[64,64]]": 9}


def test_shapes_that_the_twins_steps_do_not_share_are_left_out(twinned: Twinned) -> None:
    one, two = (decoder(2, rows=rows) for rows in (1, 2))
    padded, t = [replace(k, grid=(4, 1, 1)) for k in one], TraceBuilder()
    replay(t, padded, at=0)

    trace = twinned(t, eager_steps(1, one, sampling(), two, sampling()))

    assert answers(trace) == expected(one)
    rows = [row for row in operators(view_of(trace)).op_shapes if row.name == "aten::mm"]
    assert [(row.dims, row.flops, row.bound) for row in rows] == [("", 0, "unknown")]


def test_prefill_and_decode_are_two_graphs(twinned: Twinned) -> None:
    prefill = [replace(k, kernel=f"prefill_{k.kernel}") for k in decoder(2, rows=16)]
    decode, t = decoder(2), TraceBuilder()
    at = replay(t, prefill, at=0)
    for _ in range(4):
        at = replay(t, decode, at=at)

    trace = twinned(t, eager_steps(1, prefill, *[decode] * 2))

    assert answers(trace) == expected([*prefill, *decode * 4])


def test_a_graph_for_each_piece_of_a_layer_is_placed_by_what_is_around_it(twinned: Twinned) -> None:
    model, t, at = decoder(4), TraceBuilder(), 0
    for one in range(
        0, len(model), 5
    ):  # each layer in two pieces, and the attention kernel is launched
        piece = model[one : one + 5]
        cut = next((i for i, k in enumerate(piece) if k.kernel == FLASH), len(piece))
        at = replay(t, piece[:cut], at=at)
        at = eager(t, piece[cut : cut + 1], at=at)
        at = replay(t, piece[cut + 1 :], at=at) if piece[cut + 1 :] else at

    assert answers(twinned(t, eager_steps(2, model, sampling()))) == expected(model)


def branch(name: str, kernels: Sequence[str], *, stream: int) -> list[Launched]:
    return [
        Launched(kernel, f"aten::{name}_{at}", f"{name}.{at} (Linear)", stream=stream)
        for at, kernel in enumerate(kernels)
    ]


LEFT = branch("left", [GEMM, ADD, SILU, MEAN, GEMM, ADD], stream=7)
RIGHT = branch("right", [MEAN, GEMM, ADD, ADD, SILU], stream=20)
EQUAL = branch("equal", [GEMM, ADD, SILU, MEAN, GEMM, ADD], stream=20)


@pytest.mark.parametrize(("right", "with_nodes"), [(RIGHT, True), (RIGHT, False), (EQUAL, True)])
def test_branches_of_a_graph_run_in_any_order(
    twinned: Twinned, right: list[Launched], with_nodes: bool
) -> None:
    t, at, ran = TraceBuilder(), 0, []
    for order in ([*right[:2], *LEFT[:3], *right[2:], *LEFT[3:]], [*LEFT, *right]):
        nodes = [[*LEFT, *right].index(one) + 1 for one in order] if with_nodes else None
        at = replay(t, order, at=at, nodes=nodes)
        ran += order

    assert answers(twinned(t, eager_steps(1, LEFT, right))) == expected(ran)


def test_equal_branches_cannot_be_told_apart_by_start(twinned: Twinned) -> None:
    t = TraceBuilder()
    replay(t, [*EQUAL[:2], *LEFT[:3], *EQUAL[2:], *LEFT[3:]], at=0)

    assert "0 of 12 kernels" in refusal(t, eager_steps(1, LEFT, EQUAL), twinned).found


def test_a_replaced_kernel_has_no_operator(twinned: Twinned) -> None:
    model, t = decoder(2), TraceBuilder()
    changed = [*model[:11], replace(model[11], kernel="gemm_split_k"), *model[12:]]
    replay(t, changed, at=0)

    found = answers(twinned(t, eager_steps(2, model)))

    assert found == [*expected(model[:11]), ("gemm_split_k", None, ""), *expected(model[12:])]


def test_kernels_that_only_the_twin_has_are_passed_over(twinned: Twinned) -> None:
    model, t = decoder(2), TraceBuilder()
    replay(t, model, at=0)
    more = [*model[:11], Launched(ARGMAX, "aten::extra"), *model[11:]]

    assert answers(twinned(t, eager_steps(2, more))) == expected(model)


def test_a_trace_that_warms_up_without_graphs_is_its_own_twin(twinned: Twinned) -> None:
    model, t = decoder(2), TraceBuilder()
    replay(t, model, at=replay(t, model, at=eager(t, model, at=0)))

    assert answers(twinned(t, t)) == expected(model * 3)


def test_the_only_device_of_the_twin_stands_for_any(twinned: Twinned) -> None:
    model, t, twin = decoder(2), TraceBuilder(), TraceBuilder()
    replay(t, model, at=0)
    with twin.device(3):
        eager(twin, model, at=0)

    assert answers(twinned(t, twin)) == expected(model)


# --- what is refused ----------------------------------------------------------------------------------------------


def refusal(graphs: TraceBuilder, twin: TraceBuilder, twinned: Twinned) -> MmprofError:
    with pytest.raises(MmprofError) as caught:
        twinned(graphs, twin)
    assert caught.value.code == "MM-E042"
    return caught.value


def test_a_twin_of_other_work_is_refused(twinned: Twinned) -> None:
    t = TraceBuilder()
    replay(t, decoder(3), at=0)
    other = [replace(k, kernel=f"other_{k.kernel}") for k in decoder(2)]

    error = refusal(t, eager_steps(2, other[:12], sampling()), twinned)

    assert "is of other work" in error.message
    assert error.found == (
        "0 of 32 kernels in graph replays (0.0 % of their time) have a counterpart; "
        "26 have a name that no kernel of the twin has"  # all but 6 additions
    )


def test_half_of_the_time_must_have_a_counterpart(twinned: Twinned) -> None:
    model, t = decoder(2), TraceBuilder()
    unknown = [Launched(f"unknown_{i}", "") for i in range(23)]
    replay(t, unknown, at=replay(t, model, at=0))
    twin = eager_steps(1, model)

    assert "22 of 45 kernels" in refusal(t, twin, twinned).found
    fewer = TraceBuilder()
    replay(fewer, unknown[:22], at=replay(fewer, model, at=0))
    assert answers(twinned(fewer, twin)) == [*expected(model), *without_operators(unknown[:22])]


def test_a_trace_without_replays_has_nothing_to_take(twinned: Twinned) -> None:
    model, graphs = decoder(1), TraceBuilder()
    replay(graphs, model, at=eager(graphs, model, at=0))

    error = refusal(eager_steps(1, model), graphs, twinned)

    assert "replays no graph" in error.message
    assert "the one without after --twin" in error.hint  # they were swapped
    assert refusal(eager_steps(1, model), eager_steps(1, model), twinned).hint == "leave out --twin"


def test_a_twin_without_operators_is_refused(twinned: Twinned) -> None:
    t = TraceBuilder()
    replay(t, decoder(1), at=0)

    assert "has no operators to give" in refusal(t, t, twinned).message


# --- alignment of sequences ---------------------------------------------------------------------------------------


def twin_kernels(
    names: str, *, paths: Sequence[int] = (), shapes: Sequence[int] = ()
) -> TwinKernels:
    """Kernels that each have operators of their own, or the given ones."""
    count = len(names)
    own = range(1, count + 1)
    return TwinKernels(
        names,
        array("I", paths or own),
        array("I", own),
        array("I", shapes or [0] * count),
    )


def replayed(before: str, names: str, after: str = "", shapes: Sequence[int] = ()) -> Replay:
    text = before + names + after
    codes = array("I", shapes or [0] * len(text))
    return Replay(text, codes, len(before), len(before) + len(names))


LAYERS = "E" + "abcd" * 4 + "H"


@pytest.mark.parametrize(("layer", "place"), [(0, 1), (1, 5), (3, 13)])
def test_the_longest_equal_run_places_a_piece(layer: int, place: int) -> None:
    aligner = Aligner(twin_kernels(LAYERS))
    before, after = "xE" + "abcd" * layer, "cd" + "abcd" * (3 - layer) + "Hy"

    assert aligner.whole(replayed(before, "ab", after)) == Placement(
        (place, place + 1), (True, True)
    )


def test_a_piece_that_may_be_in_several_places_is_in_none() -> None:
    aligner = Aligner(twin_kernels(LAYERS))

    assert aligner.whole(replayed("abcd", "ab", "cd")) == Placement((NOWHERE,) * 2, (True,) * 2)
    assert aligner.whole(replayed("", "ax")) is None


def test_places_that_agree_are_as_good_as_one() -> None:
    aligner = Aligner(twin_kernels("abab", paths=[1, 2, 1, 3]))

    assert aligner.whole(replayed("", "ab")) == Placement((0, NOWHERE), (False, True))


def test_launch_shapes_decide_before_what_is_around() -> None:
    aligner = Aligner(twin_kernels("abcdefghXabY", shapes=[1] * 8 + [0, 2, 2, 0]))

    assert aligner.whole(replayed("", "ab", "cdefgh", [2] * 8)) == Placement((9, 10), (True, True))
    assert aligner.whole(replayed("", "ab", "cdefgh", [1] * 8)) == Placement((0, 1), (True, True))


ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("names", "twin", "places"),
    [
        (ALPHABET.replace("m", "M"), ALPHABET, [*range(12), NOWHERE, *range(13, 26)]),
        (ALPHABET, ALPHABET.replace("m", ""), [*range(12), NOWHERE, *range(12, 25)]),
        (ALPHABET.replace("m", ""), ALPHABET, [*range(12), *range(13, 26)]),
        # a run of seven may be chance
        ("abcdefgX" + ALPHABET[8:], ALPHABET, [*[NOWHERE] * 8, *range(8, 26)]),
        # the runs have changed places: in one order or the other, never in both
        (ALPHABET[13:] + ALPHABET[:13], ALPHABET, [NOWHERE] * 26),
        # one of four equal layers is missing, and nothing says which
        ("0" + ALPHABET * 3 + "1", "0" + ALPHABET * 4 + "1", [NOWHERE] * 80),
    ],
)
def test_runs(names: str, twin: str, places: list[int]) -> None:
    aligner = Aligner(twin_kernels(twin))

    assert aligner.whole(replayed("", names)) is None
    assert list(aligner.in_runs(replayed("", names)).places) == places


NAMES = st.text("abc", min_size=1, max_size=40)


@settings(max_examples=300, deadline=None)
@given(NAMES, st.data())
def test_a_kernel_is_never_aligned_with_one_of_another_name(
    names: str, data: st.DataObject
) -> None:
    twin = "".join(data.draw(st.permutations(names))) + data.draw(NAMES)
    start = data.draw(st.integers(0, len(names) - 1))
    one = Replay(names, array("I", [0] * len(names)), start, len(names))
    aligner = Aligner(twin_kernels(twin))

    for found in (aligner.whole(one), aligner.in_runs(one)):
        placed = [] if found is None else [*zip(names[start:], found.places, strict=True)]
        assert all(twin[place] == name for name, place in placed if place != NOWHERE)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(order=st.permutations(range(12)))
def test_a_shuffled_twin_gives_no_wrong_operator(twinned: Twinned, order: list[int]) -> None:
    model, t = decoder(1), TraceBuilder()
    replay(t, model, at=0)
    shuffled = [model[at] for at in order]
    known = {(one.kernel, one.operator) for one in model}

    try:
        found = answers(twinned(t, eager_steps(2, shuffled)))
    except MmprofError as error:
        assert error.code == "MM-E042"
    else:
        assert {(kernel, operator) for kernel, operator, _ in found if operator} <= known


# --- real traces --------------------------------------------------------------------------------------------------

VLLM = "tracelens/inference/vllm_decode_full"
CAPTURE = "capture_traces/graph_capture_rank_0.1773709742341309550.pt.trace.json.gz"


def captured_as_run(path: Path) -> dict[str, Any]:
    """What ROCm records while a graph is captured, with a kernel for each launch, which capturing does not run."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    kept = [e for e in document["traceEvents"] if e.get("cat") in {"cpu_op", "cuda_runtime"}]
    launches = [e for e in kept if "kernel" in e["args"] and e["cat"] == "cuda_runtime"]
    shared = ("correlation", "grid", "block")
    kernels = [
        {
            "ph": "X",
            "cat": "kernel",
            "name": e["args"]["kernel"],
            "pid": 0,
            "tid": 0,
            "ts": e["ts"] + 1000,
            "dur": 1,
            "args": {"device": 0, "stream": 0, **{key: e["args"][key] for key in shared}},
        }
        for e in launches
    ]
    return {**document, "traceEvents": kept + kernels}


def test_a_replay_of_vllm_is_what_was_captured(shared_traces: Path, tmp_path: Path) -> None:
    twin = tmp_path / "captured.json"
    twin.write_text(json.dumps(captured_as_run(shared_traces / VLLM / CAPTURE)))

    trace = with_twin(load(shared_traces / VLLM / "graph_execution.json.gz"), load_twin(str(twin)))

    found = [answer for answer in answers(trace) if not answer[0].startswith("Memcpy")]
    operators_of = {
        kernel.partition("<")[0]: {o for k, o, _ in found if k == kernel} for kernel, _, _ in found
    }
    assert [note.message[:40] for note in trace.notes if note.code == "MM-N025"] == [
        "421 of 421 kernels in graph replays (100"
    ]
    assert operators_of["kernel_unified_attention_2d"] == {"vllm::unified_attention_with_output"}
    assert operators_of["void vllm::rotary_embedding_kernel"] == {"_C::rotary_embedding"}
    assert operators_of["_topk_forward"] == {"TopK"}


def test_a_trace_of_another_model_is_refused(shared_traces: Path) -> None:
    graphs = load(shared_traces / VLLM / "graph_execution.json.gz")
    twin = load_twin(
        str(shared_traces / "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz")
    )

    with pytest.raises(MmprofError, match=r"is of other work.*0 of 421 kernels"):
        with_twin(graphs, twin)
