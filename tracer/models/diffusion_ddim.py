"""DDIM sampling without noise (arXiv 2010.02502, equation 12 with sigma 0), on Stable Diffusion's schedule.

The schedule is that of CompVis/stable-diffusion (configs/stable-diffusion/v1-inference.yaml; make_beta_schedule, "linear";
make_ddim_timesteps, "uniform").
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

TRAINING_STEPS: Final = 1_000
_BETA_START: Final = 0.00085
_BETA_END: Final = 0.012


class DdimStep(NamedTuple):
    """One step of sampling.

    Attributes:
        timestep: Step of training that it undoes.
        alpha: Share of the image in the variance of the latents before the step.
        next_alpha: The same after the step.
    """

    timestep: int
    alpha: float
    next_alpha: float


def ddim_steps(count: int) -> list[DdimStep]:
    """`count` steps from noise to image.

    Raises:
        ValueError: Fewer than one step, or as many as training had.
    """
    if not 1 <= count < TRAINING_STEPS:
        raise ValueError(f"{count} denoising steps; choose 1 to {TRAINING_STEPS - 1}")
    alphas = cumulative_alphas()
    timesteps = [1 + i * (TRAINING_STEPS // count) for i in range(count)]
    after = [0, *timesteps[:-1]]
    steps = [DdimStep(t, alphas[t], alphas[s]) for t, s in zip(timesteps, after, strict=True)]
    return steps[::-1]


def cumulative_alphas() -> list[float]:
    """Share of the image that is left after each step of training: betas are evenly spaced in their square roots."""
    ends = math.sqrt(_BETA_START), math.sqrt(_BETA_END)
    betas = torch.linspace(*ends, TRAINING_STEPS, dtype=torch.float64).square()
    alphas: list[float] = (1 - betas).cumprod(0).tolist()
    return alphas


def ddim_update(latents: Tensor, noise: Tensor, step: DdimStep) -> Tensor:
    """The latents after a step, given the noise that was predicted in them."""
    image = (latents - math.sqrt(1 - step.alpha) * noise) / math.sqrt(step.alpha)
    return math.sqrt(step.next_alpha) * image + math.sqrt(1 - step.next_alpha) * noise


def guided_noise(noise: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): away from the noise without a text, in the first half of the batch."""
    without_text, with_text = noise.chunk(2)
    return without_text + scale * (with_text - without_text)
