"""Latent diffusion: the published sizes, the sampler on numbers worked out by hand, and CLIP of transformers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.tracer.workload import Request
from mmprof.tracer.workloads.diffusion import FAMILY

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import mmprof  # noqa: E402
from mmprof.tracer.models.diffusion_ddim import (  # noqa: E402
    DdimStep,
    cumulative_alphas,
    ddim_steps,
    ddim_update,
    guided_noise,
)
from mmprof.tracer.models.diffusion_text import TextConfig, TextEncoder  # noqa: E402
from mmprof.tracer.models.diffusion_unet import time_embedding  # noqa: E402
from mmprof.tracer.models.diffusion_workload import CONFIGS, model_makers  # noqa: E402
from mmprof.tracer.models.generation import on_meta, random_model  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = {
    "text_encoder": 123_060_480,  # transformers' CLIPTextModel of openai/clip-vit-large-patch14
    "unet": 859_520_964,  # diffusers' UNet2DConditionModel of stable-diffusion-v1-5, from its documentation
    "image_decoder": 49_490_199,  # 49,490,179 of the decoder and 20 of the convolution before it
}
OF_CLIP = {
    "tokens": "embeddings.token_embedding",
    "positions": "embeddings.position_embedding",
    "norm": "final_layer_norm",
    "attention_norm": "layer_norm1",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "mlp_norm": "layer_norm2",
    "mlp.wider": "mlp.fc1",
    "mlp.narrower": "mlp.fc2",
}


def request(size: str = "tiny", *, guidance: float = 7.5, **changes: Any) -> Request:
    return Request("T-I", size, options={"guidance": guidance}, **changes)


def run(**changes: Any) -> torch.Tensor:
    image = FAMILY.build(request(**changes)).run()
    assert isinstance(image, torch.Tensor)
    return image


def parameters(size: str) -> dict[str, int]:
    makers = model_makers(CONFIGS[size], "eager")
    return {
        name: sum(p.numel() for p in on_meta(make).parameters()) for name, make in makers.items()
    }


def clip_name(name: str) -> str:
    """What transformers calls the parameter `name` of the text encoder."""
    head, _, leaf = name.rpartition(".")
    if not head.startswith("layers."):
        return f"{OF_CLIP[head]}.{leaf}"
    _, number, inner = head.split(".", 2)
    return f"encoder.layers.{number}.{OF_CLIP[inner]}.{leaf}"


def test_full_has_the_published_parameters() -> None:
    assert parameters("full") == PUBLISHED


@pytest.mark.parametrize("size", FAMILY.sizes, ids=lambda size: size.name)
def test_parameters_are_as_declared(size: Any) -> None:
    assert sum(parameters(size.name).values()) == size.parameters


def test_a_ddim_step_by_hand() -> None:
    latents, noise = torch.tensor([1.0], dtype=torch.float64), torch.tensor([0.5])
    # The image is (1 - 0.8 * 0.5) / 0.6 = 1, as the roots of 0.64 and 0.36 are 0.8 and 0.6; after it, 0.8 * 1 + 0.6 * 0.5.
    after = ddim_update(latents, noise, DdimStep(timestep=1, alpha=0.36, next_alpha=0.64))
    assert after.item() == pytest.approx(1.1)


def test_a_ddim_step_that_is_told_the_noise_goes_straight_to_the_image() -> None:
    image, noise = torch.tensor([3.0, -1.0]), torch.tensor([0.5, 2.0])
    latents = 0.6 * image + 0.8 * noise
    found = ddim_update(latents, noise, DdimStep(timestep=1, alpha=0.36, next_alpha=1.0))
    assert found.tolist() == pytest.approx([3.0, -1.0], rel=1e-6)


def test_schedule_by_hand() -> None:
    alphas = cumulative_alphas()
    assert alphas[0] == pytest.approx(1 - 0.00085)
    second = math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) / 999
    assert alphas[1] == pytest.approx((1 - 0.00085) * (1 - second**2))
    assert len(alphas) == 1_000
    assert ddim_steps(4) == [
        DdimStep(751, alphas[751], alphas[501]),
        DdimStep(501, alphas[501], alphas[251]),
        DdimStep(251, alphas[251], alphas[1]),
        DdimStep(1, alphas[1], alphas[0]),
    ]


def test_steps_that_the_schedule_does_not_have_are_refused() -> None:
    assert len(ddim_steps(999)) == 999
    with pytest.raises(ValueError, match="1000 denoising steps; choose 1 to 999"):
        ddim_steps(1_000)


def test_guidance_by_hand() -> None:
    noise = torch.tensor([[1.0], [2.0], [4.0], [2.0]])
    assert guided_noise(noise, 2.0).tolist() == [[7.0], [2.0]]  # 1 + 2 * (4 - 1), 2 + 2 * 0


def test_time_embedding_by_hand() -> None:
    found = time_embedding(torch.tensor([0, 3]), 4, torch.float32)
    assert found[0].tolist() == [1.0, 1.0, 0.0, 0.0]
    expected = [math.cos(3), math.cos(0.03), math.sin(3), math.sin(0.03)]
    assert found[1].tolist() == pytest.approx(expected)


def test_text_encoder_equals_clip_of_transformers() -> None:
    ours = random_model(
        lambda: TextEncoder(TextConfig(width=32, layers=2, heads=4, vocabulary=50), "eager"),
        request(),
    )
    config = transformers.CLIPTextConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        attn_implementation="eager",
    )
    theirs = transformers.CLIPTextModel(config).eval()
    prefix = "text_model." if hasattr(theirs, "text_model") else ""
    weights = {prefix + clip_name(name): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights)
    tokens = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens), theirs(tokens).last_hidden_state)


def test_equal_requests_give_equal_images_and_other_seeds_others() -> None:
    first = run()
    assert first.shape == (1, 3, 16, 16)
    assert 0 <= first.min() < first.max() <= 1
    assert torch.equal(first, run())
    assert not torch.equal(first, run(seed=1))


def test_a_workload_runs_again_from_the_same_state() -> None:
    workload = FAMILY.build(request())
    assert torch.equal(workload.run(), workload.run())


def test_attention_implementations_agree() -> None:
    torch.testing.assert_close(run(attention="sdpa"), run(attention="eager"))


def test_the_text_steers_the_image() -> None:
    assert not torch.equal(run(input_length=9), run(input_length=10))


def test_guidance_doubles_the_batch_of_the_unet() -> None:
    guided, plain = (FAMILY.build(request(guidance=g, batch=3)) for g in (7.5, 1.0))
    assert (guided.arguments["unet_batch"], plain.arguments["unet_batch"]) == (6, 3)
    assert guided.run().shape == plain.run().shape == (3, 3, 16, 16)


def test_guidance_of_the_noise_itself_changes_nothing() -> None:
    torch.testing.assert_close(run(guidance=1.0), run(guidance=1.0 + 1e-7), atol=1e-4, rtol=0)


def test_models_are_in_the_dtype_of_the_request() -> None:
    workload = FAMILY.build(request(dtype="bfloat16", output_length=1))
    assert {p.dtype for m in workload.models.values() for p in m.parameters()} == {torch.bfloat16}
    assert workload.run().dtype == torch.bfloat16
    assert (workload.steps, workload.kv_cache_bytes) == (1, None)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a text of 78 tokens; choose 2 to 77"):
        FAMILY.build(request(input_length=78))


def test_phases_are_found_in_a_trace(tmp_path: Path) -> None:
    workload = FAMILY.build(request())
    with torch.profiler.profile(record_shapes=True) as profile:
        workload.run()
    profile.export_chrome_trace(str(tmp_path / "diffusion.json"))
    rows = mmprof.analyze(tmp_path / "diffusion.json").devices[0].value("phases")
    counts = {row.phase: row.count for row in rows if row.phase != "other"}
    assert counts == {"encode": 1, "denoise": 4, "image_decode": 1}
    assert set(counts) == set(FAMILY.tasks[0].phases)
