"""One request to latent diffusion: a text is encoded, latents are denoised step by step, an image is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn

from mmprof.tracer.models.diffusion_ddim import ddim_steps, ddim_update, guided_noise
from mmprof.tracer.models.diffusion_image import ImageConfig, ImageDecoder
from mmprof.tracer.models.diffusion_text import TextConfig, TextEncoder
from mmprof.tracer.models.diffusion_unet import Unet, UnetConfig
from mmprof.tracer.models.generation import random_model, torch_dtype
from mmprof.tracer.phases import PhaseSequence
from mmprof.tracer.workload import Request, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mmprof.tracer.models.diffusion_blocks import AttentionKind
    from mmprof.tracer.models.diffusion_ddim import DdimStep
    from mmprof.tracer.workload import Argument


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """The architecture.

    Attributes:
        text: Text encoder.
        unet: U-Net.
        image: Image decoder.
        latent_size: Height and width of the latents.
        steps: Denoising steps where none are asked for.
    """

    text: TextConfig
    unet: UnetConfig
    image: ImageConfig
    latent_size: int
    steps: int


CONFIGS: Final = {
    "tiny": DiffusionConfig(
        TextConfig(width=32, layers=2, heads=4, vocabulary=1_000),
        UnetConfig((32, 64), (True, False), context_width=32, blocks=1, heads=4, groups=8),
        ImageConfig((16, 32), groups=8),
        latent_size=8,
        steps=4,
    ),
    "small": DiffusionConfig(
        TextConfig(width=256, layers=4, heads=4, vocabulary=8_192),
        UnetConfig((96, 192, 384, 384), (True, True, True, False), context_width=256),
        ImageConfig((32, 64, 128, 128)),
        latent_size=32,
        steps=10,
    ),
    "full": DiffusionConfig(
        TextConfig(width=768, layers=12, heads=12, vocabulary=49_408),
        UnetConfig((320, 640, 1_280, 1_280), (True, True, True, False), context_width=768),
        ImageConfig((128, 256, 512, 512)),
        latent_size=64,
        steps=50,
    ),
}
"""full is Stable Diffusion 1 (configs/stable-diffusion/v1-inference.yaml in CompVis/stable-diffusion, `--ddim_steps` of its
scripts/txt2img.py); the other sizes are mmprof's own, with the same structure."""


@dataclass(frozen=True, slots=True)
class TextToImage:
    """The models of a request, and what goes into them.

    Attributes:
        text_encoder: Tokens to context.
        unet: Latents and context to noise.
        image_decoder: Latents to image.
        prompts: (batch, tokens); under guidance as many empty texts before them.
        latents: (batch, latent channels, height, width) of noise.
        guidance: Scale of classifier-free guidance; 1 for none, which halves the batch.
        steps: What to denoise.
    """

    text_encoder: nn.Module
    unet: nn.Module
    image_decoder: nn.Module
    prompts: Tensor
    latents: Tensor
    guidance: float
    steps: list[DdimStep]

    @torch.inference_mode()
    def run(self) -> Tensor:
        """(batch, 3, height, width) of the image, from 0 to 1."""
        latents = self.latents
        with PhaseSequence() as phases:
            phases.enter("encode")
            context: Tensor = self.text_encoder(self.prompts)
            for number, step in enumerate(self.steps):
                phases.enter("denoise", number)
                noise = self._noise(latents, step.timestep, context)
                latents = ddim_update(latents, noise, step)
            phases.enter("image_decode")
            image: Tensor = self.image_decoder(latents)
        return image

    def _noise(self, latents: Tensor, timestep: int, context: Tensor) -> Tensor:
        both = latents.repeat(len(context) // len(latents), 1, 1, 1)
        timesteps = torch.full((len(both),), timestep, device=both.device)
        noise: Tensor = self.unet(both, timesteps, context)
        return noise if self.guidance == 1 else guided_noise(noise, self.guidance)


def model_makers(
    config: DiffusionConfig, kind: AttentionKind
) -> Mapping[str, Callable[[], nn.Module]]:
    """What makes each of the three models, by name."""
    return {
        "text_encoder": lambda: TextEncoder(config.text, kind),
        "unet": lambda: Unet(config.unet, kind),
        "image_decoder": lambda: ImageDecoder(config.image, kind),
    }


def diffusion_workload(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: The text is too long, or there are too many steps.
    """
    config = CONFIGS[request.size]
    makers = model_makers(config, cast("AttentionKind", request.attention))
    models = {name: random_model(make, request) for name, make in makers.items()}
    pipeline = TextToImage(
        text_encoder=models["text_encoder"],
        unet=models["unet"],
        image_decoder=models["image_decoder"],
        prompts=_prompts(config.text, request),
        latents=_latents(config, request),
        guidance=float(request.options["guidance"]),
        steps=ddim_steps(request.output_length or config.steps),
    )
    return Workload(
        name="diffusion",
        models=models,
        run=pipeline.run,
        arguments=_arguments(config, pipeline, request),
        steps=len(pipeline.steps),
    )


def _prompts(config: TextConfig, request: Request) -> Tensor:
    """(batch, tokens): begin, random words, end; before them, under guidance, begin and only ends."""
    length = request.input_length or config.positions
    if not 2 <= length <= config.positions:
        raise ValueError(f"a text of {length} tokens; choose 2 to {config.positions}")
    begin, end = config.vocabulary - 2, config.vocabulary - 1
    generator = torch.Generator().manual_seed(request.seed)
    prompts = torch.randint(begin, (request.batch, length), generator=generator)
    if request.options["guidance"] != 1:
        prompts = torch.cat([torch.full_like(prompts, end), prompts])
    prompts[:, 0], prompts[:, -1] = begin, end
    return prompts.to(request.device)


def _latents(config: DiffusionConfig, request: Request) -> Tensor:
    shape = (request.batch, config.unet.latent_channels, config.latent_size, config.latent_size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
    return noise.to(device=request.device, dtype=torch_dtype(request))


def _arguments(
    config: DiffusionConfig, pipeline: TextToImage, request: Request
) -> Mapping[str, Argument]:
    return {
        "batch": request.batch,
        "unet_batch": len(pipeline.prompts),
        "guidance": pipeline.guidance,
        "tokens": pipeline.prompts.shape[1],
        "steps": len(pipeline.steps),
        "latent_size": config.latent_size,
        "image_size": config.latent_size * config.image.scale,
        "attention": request.attention,
        "dtype": request.dtype,
        "seed": request.seed,
    }
