"""SeamlessM4T v2: the phases, the reorder of the caches and the lengths follow from the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.tracer.workload import Request, Workload
from mmprof.tracer.workloads.seamless import FAMILY

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import polars as pl  # noqa: E402

from mmprof.analyzers.load import load  # noqa: E402
from mmprof.analyzers.phases import phase_spans  # noqa: E402
from mmprof.tracer.models import seamless  # noqa: E402
from mmprof.tracer.models.generation import on_meta  # noqa: E402
from mmprof.tracer.models.seamless_phases import request_phases  # noqa: E402
from tests.tracer.phase_counts import parameters, phase_counts  # noqa: E402

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

TASKS = {task.name: task for task in FAMILY.tasks}
DECODER_LAYERS, TOKENS = 2, 8  # tiny


def workload(task: str, **changes: Any) -> Workload:
    options = {"beams": changes.pop("beams", 5)}
    return FAMILY.build(Request(task, options=options, **changes))


def own_state(model: torch.nn.Module) -> list[tuple[str, frozenset[str], int]]:
    """What each module holds itself: its attributes and the number of its hooks."""
    return [
        (
            path,
            frozenset(vars(module)),
            len(module._forward_pre_hooks) + len(module._forward_hooks),
        )
        for path, module in model.named_modules()
    ]


@pytest.fixture(scope="module")
def text_trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    """One T-T request at tiny: 8 tokens, 5 beams."""
    run, path = workload("T-T").run, tmp_path_factory.mktemp("seamless") / "trace.json"
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run()
    profiler.export_chrome_trace(str(path))
    return load(path)


def calls_in(trace: Trace, operator: str, phase: str) -> list[int]:
    """Calls of an operator in each instance of a phase, nested phases included."""
    starts = trace.host.filter(pl.col("name") == operator)["start_ns"]
    spans = phase_spans(trace).filter(pl.col("phase") == phase)
    return [
        starts.is_between(start, end).sum()
        for start, end in spans.select("start_ns", "end_ns").iter_rows()
    ]


def test_each_beam_step_reorders_keys_and_values_of_both_attentions_of_every_layer(
    text_trace: Trace,
) -> None:
    copies = DECODER_LAYERS * 2 * 2
    # once per token: the first is chosen in prefill, the others in a decode step each
    assert calls_in(text_trace, "aten::index_select", "kv_reorder") == [copies] * TOKENS
    # and one each to look up the token and its position
    assert calls_in(text_trace, "aten::index_select", "decode") == [copies + 2] * (TOKENS - 1)


def test_bookkeeping_of_beams_is_outside_the_reorder(text_trace: Trace) -> None:
    # of the 10 candidates: their beams and their tokens; of the 5 that go on: tokens, scores and beams;
    # of those that ended: tokens, scores, beams and whether they ended
    gathered = 2 + 3 + 4
    assert calls_in(text_trace, "aten::take_along_dim", "decode") == [gathered] * (TOKENS - 1)
    assert calls_in(text_trace, "aten::take_along_dim", "kv_reorder") == [0] * TOKENS


@pytest.mark.parametrize("task", TASKS)
def test_phases(task: str, tmp_path: Path) -> None:
    made = workload(task)
    found = phase_counts(made.run, tmp_path / "trace.json")
    assert set(found) == set(TASKS[task].phases)
    assert made.steps == TOKENS - 1
    once = {"setup": 1, "prefill": 1, "redecode": 1, "t2u": 1, "vocode": 1}
    # transformers encodes speech once more for the text-to-unit model; of text it keeps the states
    expected = {
        **once,
        "encode": 2 if task == "S-S" else 1,
        "decode": TOKENS - 1,
        "kv_reorder": TOKENS,
    }
    assert found == {phase: expected[phase] for phase in found}


def test_phases_follow_in_the_declared_order(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    phase_counts(workload("S-S").run, path)
    spans = phase_spans(load(path))
    assert tuple(spans["phase"].unique(maintain_order=True)) == TASKS["S-S"].phases
    ends = spans.filter(pl.col("phase") == "encode")["end_ns"].to_list()
    begins = spans.filter(pl.col("phase").is_in(["prefill", "redecode"]))["start_ns"].to_list()
    assert [end <= begin for end, begin in zip(ends, begins, strict=True)] == [True, True]


@pytest.mark.parametrize("task", TASKS)
def test_equal_requests_give_equal_outputs(task: str) -> None:
    first, second = workload(task, seed=3), workload(task, seed=3)
    made, again, other = first.run(), first.run(), second.run()
    assert made.keys() == again.keys() == other.keys()
    for name in made:
        assert torch.equal(made[name], again[name])
        assert torch.equal(made[name], other[name])
    assert not torch.equal(made["sequences"], workload(task, seed=4).run()["sequences"])


def test_tokens_differ_from_each_other() -> None:
    tokens = workload("T-T", output_length=16).run()["sequences"][0, seamless.DECODER_PROMPT :]
    # with equal gains in the last normalization at most 2 do
    assert tokens.unique().numel() > 2


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 2, "output_length": 5},
        {"dtype": "bfloat16", "attention": "sdpa", "input_length": 9, "output_length": 5},
        {"beams": 1, "output_length": 5},
    ],
)
@pytest.mark.parametrize("task", ["S-S", "T-S"])
def test_lengths_follow_from_the_request(task: str, changes: dict[str, Any]) -> None:
    made = workload(task, **changes)
    output = made.run()
    batch = changes.get("batch", 1)
    # 5 tokens, the last one not spoken; 4 characters a token, 3 units a character, 320 samples a unit
    assert output["sequences"].shape == (batch, 2 + 5)
    assert output["unit_sequences"].shape == (batch, 4 * 4 * 3)
    assert output["waveform"].shape == (batch, 4 * 4 * 3 * 320)
    assert made.arguments["samples"] == 4 * 4 * 3 * 320
    assert output["waveform"].isfinite().all()


def test_one_beam_decodes_without_a_reorder(tmp_path: Path) -> None:
    found = phase_counts(workload("T-T", beams=1).run, tmp_path / "trace.json")
    assert found == {"setup": 1, "encode": 1, "prefill": 1, "decode": TOKENS - 1}


@pytest.mark.parametrize(("task", "positions"), [("T-T", 12), ("S-T", 9)])
def test_kv_cache_bytes_are_those_of_the_caches(task: str, positions: int) -> None:
    made = workload(task, batch=2)
    caches: list[Any] = []

    def reorder(cache: Any, beam_idx: torch.Tensor) -> Any:
        caches.append(cache)
        cache.reorder_cache(beam_idx)
        return cache

    vars(made.models[""])["_reorder_cache"] = reorder
    made.run()
    held = [
        tensor
        for cache in (caches[-1].self_attention_cache, caches[-1].cross_attention_cache)
        for layer in cache.layers
        for tensor in (layer.keys, layer.values)
    ]
    assert made.kv_cache_bytes == sum(t.nbytes for t in held)
    # 64 frames leave (64 + 8 - 8) // 8 + 1 = 9 positions; 9 are 2 of the prompt and 8 tokens less the last
    assert made.kv_cache_bytes == 2 * DECODER_LAYERS * (2 * 5) * (positions + 9) * 64 * 4


def test_a_reorder_of_the_model_s_own_is_annotated_and_comes_back(tmp_path: Path) -> None:
    made = workload("T-T")
    model, expected = made.models[""], made.run()["sequences"]

    def own(cache: Any, beam_idx: torch.Tensor) -> Any:
        cache.self_attention_cache.reorder_cache(beam_idx)
        return cache

    vars(model)["_reorder_cache"] = own
    assert phase_counts(made.run, tmp_path / "trace.json")["kv_reorder"] == TOKENS
    assert vars(model)["_reorder_cache"] is own
    # the beams of a sentence share what they attend to, so that leaving it where it is changes nothing
    assert torch.equal(made.run()["sequences"], expected)


def test_phases_leave_the_model_as_it_was() -> None:
    made = workload("T-S")
    model = made.models[""]
    made.run()  # transformers itself leaves hooks at the first request
    before = own_state(model)
    made.run()
    assert own_state(model) == before
    with pytest.raises(RuntimeError, match="inside"), request_phases(model):
        assert own_state(model) != before
        raise RuntimeError("inside")
    assert own_state(model) == before


@pytest.mark.parametrize("size", FAMILY.sizes, ids=lambda size: size.name)
def test_parameters(size: Any) -> None:
    model = on_meta(lambda: seamless.make_model(size.name, "eager"))
    assert parameters(model) == size.parameters


def test_full_is_the_published_large_v2() -> None:
    model = on_meta(lambda: seamless.make_model("full", "sdpa"), torch.bfloat16)
    seamless.fix_speech_length(model)
    seamless.vary_tokens(model, seed=0)
    assert len(model.speech_encoder.encoder.layers) == len(model.text_decoder.layers) == 24
    assert model.lm_head.weight.shape == (256_102, 1024)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    request = Request("S-S", "full", dtype="bfloat16", options={"beams": 5})
    translation = seamless.Translation.of(request)
    # 493 frames leave 62 positions; each of them and of 2 + 36 - 1 tokens takes 96 KiB a beam
    assert translation.kv_cache_bytes(model.config, request) == 5 * (62 + 37) * 96 * 1024
    assert len(seamless.generation_config(model.config, translation).id_to_text) == 256_102


def test_what_the_tasks_cannot_do() -> None:
    with pytest.raises(ValueError, match="2 tokens"):
        workload("S-S", output_length=1)
    with pytest.raises(ValueError, match="at least 1"):
        workload("T-T", beams=0)
