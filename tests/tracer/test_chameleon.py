"""Chameleon: sizes, phases, determinism; the image loop against a recomputation without cache; guidance by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mmprof.tracer.workload import Request
from mmprof.tracer.workloads.chameleon import FAMILY

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from phase_counts import parameters, phase_counts  # noqa: E402

from mmprof.tracer.models.chameleon import make_image_decoder, make_model  # noqa: E402
from mmprof.tracer.models.chameleon_image import (  # noqa: E402
    CachedReader,
    guidance_prompt,
    guided,
)
from mmprof.tracer.models.chameleon_shapes import (  # noqa: E402
    BEGIN_IMAGE,
    FIRST_CODE,
    SHAPES,
    vocabulary,
)
from mmprof.tracer.models.generation import on_meta  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = {option.name: option.default for option in FAMILY.options}
TASKS = {task.name: task for task in FAMILY.tasks}
# the tiny image has 16 tokens
PHASES = {
    "I-T": {"encode": 1, "prefill": 1, "decode": 29},
    "IT-T": {"encode": 1, "prefill": 1, "decode": 9},
    "T-I": {"prefill": 1, "decode": 16, "image_decode": 1},
}


def tiny(task: str, changed: dict[str, Any] | None = None, **changes: Any) -> Request:
    return Request(task, options=OPTIONS | (changed or {}), **changes)


def tensors(output: object) -> list[Any]:
    return list(output) if isinstance(output, tuple) else [output]


@pytest.mark.parametrize("size", FAMILY.sizes, ids=lambda size: size.name)
def test_the_declared_parameters_are_those_of_the_models(size: Any) -> None:
    shape = SHAPES[size.name, "7B"]
    model, decoder = (
        on_meta(lambda: make_model(shape, "eager")),
        on_meta(lambda: make_image_decoder(shape)),
    )
    assert parameters(model, decoder) == size.parameters


@pytest.mark.parametrize(
    ("variant", "billions", "layer"),
    [("7B", 7.01, "ChameleonDecoderLayer"), ("34B", 34.29, "ChameleonSwinDecoderLayer")],
)
def test_the_transformer_has_its_published_size_and_norms(
    variant: str, billions: float, layer: str
) -> None:
    model = on_meta(lambda: make_model(SHAPES["full", variant], "eager"), torch.bfloat16)
    without_image = parameters(model) - parameters(model.model.vqmodel)
    assert round(without_image / 1e9, 2) == billions
    assert {type(module).__name__ for module in model.model.layers} == {layer}
    assert SHAPES["full", variant].image.tokens == 1024


@pytest.mark.parametrize("task", PHASES)
def test_phases_and_decode_steps(task: str, tmp_path: Path) -> None:
    workload = FAMILY.build(tiny(task))
    assert phase_counts(workload.run, tmp_path / "trace.json") == PHASES[task]
    assert workload.steps == PHASES[task]["decode"]
    assert set(TASKS[task].phases) == set(PHASES[task])


@pytest.mark.parametrize("task", PHASES)
def test_equal_requests_give_equal_outputs(task: str) -> None:
    first, second = (FAMILY.build(tiny(task, seed=3)) for _ in range(2))
    for ours, again, theirs in zip(
        tensors(first.run()), tensors(first.run()), tensors(second.run()), strict=True
    ):
        assert torch.equal(ours, again)
        assert torch.equal(ours, theirs)


def test_text_follows_a_prompt_that_holds_the_image_between_its_marks() -> None:
    workload = FAMILY.build(tiny("IT-T", batch=2))
    tokens = workload.run()
    # begin, begin of image, 16 placeholders, end of image, 13 text tokens, 10 new ones
    assert tokens.shape == (2, 32 + 10)
    assert tokens[0, :19].tolist() == [0, 1, *[3] * 16, 2]
    assert (tokens[:, 19:32] >= FIRST_CODE + 256).all()
    assert workload.kv_cache_bytes == 2 * 4 * 128 * 2 * (32 + 9) * 4


def test_the_image_decides_the_text() -> None:
    workload = FAMILY.build(tiny("I-T"))
    text = workload.run()
    model = workload.models["chameleon"]
    codes = model.get_image_tokens(torch.zeros(1, 3, 32, 32))
    assert codes.shape == (1, 16)
    assert ((codes >= FIRST_CODE) & (codes < FIRST_CODE + 256)).all()
    with torch.no_grad():
        model.model.vqmodel.quant_conv.weight.neg_()
    assert not torch.equal(text, workload.run())


def test_an_image_is_what_decoding_without_a_cache_gives() -> None:
    workload = FAMILY.build(tiny("T-I", {"guidance": 1}, batch=2))
    image = workload.run()
    model = workload.models["chameleon"]
    ids = torch.cat([workload.run.prompt.ids, torch.full((2, 1), BEGIN_IMAGE)], dim=1)
    for _ in range(16):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, -1])[:, FIRST_CODE : FIRST_CODE + 256]
        ids = torch.cat([ids, FIRST_CODE + logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(image.codes, ids[:, -16:] - FIRST_CODE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_copy_without_text_sees_nothing_of_its_padding(attention: str) -> None:
    model = FAMILY.build(tiny("T-I", attention=attention)).models["chameleon"].model
    text, token = torch.tensor([[0, 300, 400, 500]]), torch.tensor([[BEGIN_IMAGE]])
    copies, alone = CachedReader(model), CachedReader(model)
    copies.read(*guidance_prompt(text, 2))
    alone.read(text[:, :1], torch.ones(1, 1))
    with torch.inference_mode():
        both = copies.read(token.repeat(2, 1), torch.ones(2, 1))
        expected = alone.read(token, torch.ones(1, 1))
    torch.testing.assert_close(both[1:], expected)
    assert not torch.allclose(both[:1], expected, rtol=0.1)


def test_guidance_copies_the_prompt_without_its_text() -> None:
    prompt = guidance_prompt(torch.tensor([[7, 8, 9], [4, 5, 6]]), 3)
    assert prompt.ids.tolist() == [[7, 8, 9], [4, 5, 6], *[[0, 0, 7], [0, 0, 4]] * 2]
    assert prompt.mask.tolist() == [[1, 1, 1]] * 2 + [[0, 0, 1]] * 4


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([5.0], 5.0),
        ([5.0, 1.0], 1 + 3 * (5 - 1)),
        ([5.0, 3.0, 1.0], 1 + 1.2 * (3 - 1) + 3 * (5 - 3)),
    ],
)
def test_guidance_combines_the_copies(copies: list[float], expected: float) -> None:
    combined = guided(torch.tensor(copies)[:, None], len(copies))
    assert combined.tolist() == [[pytest.approx(expected)]]


@pytest.mark.parametrize("guidance", [1, 2, 3])
def test_guidance_multiplies_the_cache_and_changes_the_image(guidance: int) -> None:
    workload = FAMILY.build(tiny("T-I", {"guidance": guidance}))
    without = FAMILY.build(tiny("T-I", {"guidance": 1}))
    # 14 tokens of the prompt, 16 decode steps
    assert workload.kv_cache_bytes == guidance * 2 * 4 * 128 * (14 + 16) * 4
    assert torch.equal(workload.run().codes, without.run().codes) == (guidance == 1)


def test_sampling_draws_the_same_tokens_in_each_run_but_not_the_likeliest() -> None:
    drawn, likeliest = (
        FAMILY.build(tiny("T-I", {"sampling": sampling})) for sampling in (True, False)
    )
    assert torch.equal(drawn.run().codes, drawn.run().codes)
    assert not torch.equal(drawn.run().codes, likeliest.run().codes)


def test_a_shorter_image_repeats_its_first_token() -> None:
    codes, pixels = FAMILY.build(tiny("T-I", output_length=5)).run()
    whole = FAMILY.build(tiny("T-I")).run().codes
    assert torch.equal(codes, torch.cat([whole[:, :5], whole[:, :1].expand(-1, 11)], dim=1))
    assert pixels.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(("size", "residual_blocks"), [("tiny", 4 * 3 + 2), ("full", 5 * 3 + 2)])
def test_the_image_decoder_mirrors_the_encoder(size: str, residual_blocks: int) -> None:
    shape = SHAPES[size, "7B"]
    decoder = on_meta(lambda: make_image_decoder(shape))
    side, grid = shape.image.resolution, int(shape.image.tokens**0.5)
    latents = torch.empty(2, shape.image.latent, grid, grid, device="meta")
    assert decoder(latents).shape == (2, 3, side, side)
    names = [type(module).__name__ for module in decoder.modules()]
    assert names.count("ChameleonVQVAEEncoderResnetBlock") == residual_blocks
    assert names.count("ChameleonVQVAEEncoderAttnBlock") == 1


def test_codes_are_named_with_letters_for_digits() -> None:
    names = vocabulary(11)
    assert names["<image>"] == 3
    assert names["IMGIMGAZ"] == FIRST_CODE
    assert names["IMGIMGBAZ"] == FIRST_CODE + 10


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (tiny("T-I", output_length=17), "17 tokens out: an image has 16"),
        (tiny("I-T", input_length=18), "18 tokens in: an image with its marks has 19"),
        (tiny("T-I", {"variant": "34B"}), "size tiny has no variant 34B"),
    ],
)
def test_what_cannot_be_built_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FAMILY.build(request_)


def test_bfloat16_runs_with_every_weight_in_it() -> None:
    workload = FAMILY.build(tiny("T-I", dtype="bfloat16"))
    dtypes = {p.dtype for model in workload.models.values() for p in model.parameters()}
    assert dtypes == {torch.bfloat16}
    assert workload.run().pixels.isfinite().all()
