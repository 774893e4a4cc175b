"""Code Llama: sizes, phases, determinism; and the generation loop's phases on a stand-in for a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.tracer.workload import Request
from mmprof.tracer.workloads.llama import FAMILY

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from phase_counts import parameters, phase_counts  # noqa: E402

from mmprof.tracer.models.generation import generation_phases, on_meta  # noqa: E402
from mmprof.tracer.models.llama import SHAPES, make_model  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

TINY = Request("T-T", options={option.name: option.default for option in FAMILY.options})


class StandIn:
    """A model of which `generate` takes three steps."""

    def prepare_inputs_for_generation(self, step: int) -> int:
        torch.ones(8).add(step)
        return step

    def generate(self) -> list[int]:
        return [self.prepare_inputs_for_generation(step) for step in range(3)]


@pytest.mark.parametrize("size", FAMILY.sizes, ids=lambda size: size.name)
def test_the_declared_parameters_are_those_of_the_model(size: Any) -> None:
    shape = SHAPES[size.name, "7B"]
    assert parameters(on_meta(lambda: make_model(shape, "eager"))) == size.parameters


def test_34b_has_grouped_key_value_heads_and_its_published_size() -> None:
    model = on_meta(lambda: make_model(SHAPES["full", "34B"], "sdpa"), torch.bfloat16)
    assert round(parameters(model) / 1e9, 2) == 33.74
    assert model.model.layers[0].self_attn.k_proj.out_features == 8 * 128
    assert model.dtype == torch.bfloat16


def test_a_request_is_one_prefill_and_a_decode_step_for_each_further_token(tmp_path: Path) -> None:
    workload = FAMILY.build(TINY)
    assert phase_counts(workload.run, tmp_path / "trace.json") == {"prefill": 1, "decode": 7}
    assert workload.steps == 7
    assert set(FAMILY.tasks[0].phases) == {"prefill", "decode"}


def test_lengths_batch_and_cache_are_the_requests() -> None:
    workload = FAMILY.build(replace(TINY, batch=3, input_length=5, output_length=4))
    assert workload.run().shape == (3, 9)
    # keys and values, 4 layers of 128 wide heads, 3 sequences of 5 + 3 positions, 4 bytes
    assert workload.kv_cache_bytes == 2 * 4 * 128 * 3 * 8 * 4
    assert workload.arguments["input_length"] == 5


def test_equal_requests_give_equal_tokens_and_other_seeds_others() -> None:
    first, second, other = (FAMILY.build(replace(TINY, seed=seed)) for seed in (1, 1, 2))
    tokens = first.run()
    assert torch.equal(tokens, first.run())
    assert torch.equal(tokens, second.run())
    assert not torch.equal(tokens, other.run())


def test_greedy_decoding_does_not_loop() -> None:
    tokens = FAMILY.build(replace(TINY, output_length=32)).run()[0, 16:]
    assert tokens.unique().numel() > 24


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    FAMILY.build(TINY)
    assert torch.equal(before, torch.random.get_rng_state())


def test_dtype_and_attention_are_the_requests() -> None:
    workload = FAMILY.build(replace(TINY, dtype="bfloat16", attention="sdpa"))
    model = workload.models[""]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert model.config._attn_implementation == "sdpa"
    assert workload.run().shape == (1, 24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {**TINY.options, "variant": "34B"}}, "size tiny has no variant 34B, only 7B"),
        ({"input_length": 2000, "output_length": 49}, "exceed the model's 2048 positions"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FAMILY.build(replace(TINY, **changes))


def test_an_encoders_phase_comes_before_prefill(tmp_path: Path) -> None:
    model = StandIn()

    def run() -> None:
        with generation_phases(model, before="encode") as phases:
            torch.ones(8).add(1)
            assert model.generate() == [0, 1, 2]
            phases.enter("vocode")
            torch.ones(8).add(1)

    found = phase_counts(run, tmp_path / "trace.json")
    assert found == {"encode": 1, "prefill": 1, "decode": 2, "vocode": 1}


def test_the_model_is_as_before_even_after_an_error() -> None:
    model = StandIn()
    with pytest.raises(RuntimeError, match="out of memory"), generation_phases(model):
        raise RuntimeError("out of memory")
    assert vars(model) == {}


def test_an_override_of_the_users_comes_back() -> None:
    model = StandIn()
    model.prepare_inputs_for_generation = lambda step: -step  # type: ignore[method-assign]
    own = model.prepare_inputs_for_generation
    with generation_phases(model):
        assert model.generate() == [0, -1, -2]
    assert model.prepare_inputs_for_generation is own
