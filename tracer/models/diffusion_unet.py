"""The U-Net of latent diffusion (arXiv 2112.10752; CompVis/stable-diffusion, ldm/modules/diffusionmodules/openaimodel.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmprof.tracer.models.diffusion_blocks import (
    Attention,
    AttentionKind,
    ResidualBlock,
    Upsample,
    initialize,
)

_BLOCK_EPS: Final = 1e-5
_TRANSFORMER_EPS: Final = 1e-6
_LONGEST_PERIOD: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class UnetConfig:
    """The architecture.

    Attributes:
        channels: Channels of each level; every level but the last halves height and width.
        attention: Whether a level attends to itself and to the text.
        context_width: Width of the text encoder.
        blocks: Residual blocks of a level on the way down; one more on the way up.
        heads: Attention heads.
        groups: Groups of the norms.
        latent_channels: Channels of what is denoised.
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    context_width: int
    blocks: int = 2
    heads: int = 8
    groups: int = 32
    latent_channels: int = 4

    @property
    def time_width(self) -> int:
        """Width of the time step's embedding."""
        return 4 * self.channels[0]


class GatedMlp(nn.Module):
    """A linear layer whose one half gates the other by GELU (GEGLU), and one back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wider = nn.Linear(width, 8 * width)
        self.narrower = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) to the same."""
        value, gate = self.wider(x).chunk(2, dim=-1)
        narrow: Tensor = self.narrower(value * functional.gelu(gate))
        return narrow


class TransformerBlock(nn.Module):
    """Attention to itself, attention to the text, an MLP, each after its norm."""

    def __init__(self, width: int, config: UnetConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads=config.heads, kind=kind)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(
            width, heads=config.heads, kind=kind, context_width=config.context_width
        )
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = GatedMlp(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, length, width) and (batch, tokens, context width) to the former's shape."""
        x = x + self.self_attention(self.self_norm(x))
        x = x + self.cross_attention(self.cross_norm(x), context)
        y: Tensor = self.mlp(self.mlp_norm(x))
        return x + y


class SpatialTransformer(nn.Module):
    """A transformer block over the pixels of an image."""

    def __init__(self, channels: int, config: UnetConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, channels, _TRANSFORMER_EPS)
        self.input = nn.Conv2d(channels, channels, 1)
        self.block = TransformerBlock(channels, config, kind)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, channels, height, width) and (batch, tokens, context width) to the former's shape."""
        pixels = self.input(self.norm(x)).flatten(2).transpose(1, 2)
        attended = self.block(pixels, context).transpose(1, 2).reshape(x.shape)
        y: Tensor = self.output(attended)
        return x + y


class Stage(nn.Module):
    """A residual block, with a transformer where the level has one."""

    def __init__(
        self, channels: tuple[int, int], config: UnetConfig, kind: AttentionKind | None
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(
            channels, groups=config.groups, eps=_BLOCK_EPS, time_width=config.time_width
        )
        self.transformer = SpatialTransformer(channels[1], config, kind) if kind else None

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, new channels, height, width)."""
        x = self.residual(x, time)
        return x if self.transformer is None else self.transformer(x, context)


class Unet(nn.Module):
    """The noise in latents at a time step, given a text."""

    def __init__(self, config: UnetConfig, kind: AttentionKind) -> None:
        super().__init__()
        first, last = config.channels[0], config.channels[-1]
        self.input = nn.Conv2d(config.latent_channels, first, 3, padding=1)
        self.time = nn.Sequential(
            nn.Linear(first, config.time_width),
            nn.SiLU(),
            nn.Linear(config.time_width, config.time_width),
        )
        self.down = nn.ModuleList(_down(config, kind))
        self.middle = Stage((last, last), config, kind)
        self.middle_residual = Stage((last, last), config, None)
        self.up = nn.ModuleList(_up(config, kind))
        self.norm = nn.GroupNorm(config.groups, first, _BLOCK_EPS)
        self.output = nn.Conv2d(first, config.latent_channels, 3, padding=1)

    def forward(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The predicted noise, of the latents' shape.

        Args:
            latents: (batch, latent channels, height, width).
            timesteps: (batch,) of the 1,000 of training.
            context: (batch, tokens, context width).
        """
        embedded = time_embedding(timesteps, self.input.out_channels, latents.dtype)
        time: Tensor = self.time(embedded)
        x: Tensor = self.input(latents)
        skipped = [x]
        for module in self.down:
            x = module(x, time, context) if isinstance(module, Stage) else module(x)
            skipped.append(x)
        x = self.middle_residual(self.middle(x, time, context), time, context)
        for module in self.up:
            if isinstance(module, Stage):
                x = module(torch.cat([x, skipped.pop()], dim=1), time, context)
            else:
                x = module(x)
        noise: Tensor = self.output(functional.silu(self.norm(x)))
        return noise

    def init_weights(self) -> None:
        """Fill the weights at random."""
        initialize(self)


def _down(config: UnetConfig, kind: AttentionKind) -> Iterator[nn.Module]:
    before = config.channels[0]
    for level, channels in enumerate(config.channels):
        level_kind = kind if config.attention[level] else None
        for _ in range(config.blocks):
            yield Stage((before, channels), config, level_kind)
            before = channels
        if level < len(config.channels) - 1:
            yield nn.Conv2d(channels, channels, 3, stride=2, padding=1)


def _up(config: UnetConfig, kind: AttentionKind) -> Iterator[nn.Module]:
    skipped = _skipped_channels(config)
    before = config.channels[-1]
    for level in reversed(range(len(config.channels))):
        channels = config.channels[level]
        level_kind = kind if config.attention[level] else None
        for _ in range(config.blocks + 1):
            yield Stage((before + skipped.pop(), channels), config, level_kind)
            before = channels
        if level > 0:
            yield Upsample(channels)


def _skipped_channels(config: UnetConfig) -> list[int]:
    """Channels of what the way down leaves for the way up: its input, each stage, each halving."""
    skipped = [config.channels[0]]
    for channels in config.channels:
        skipped += [channels] * (config.blocks + 1)
    return skipped[:-1]  # the last level halves nothing


def time_embedding(timesteps: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Cosines and sines of (batch,) time steps at geometric frequencies, (batch, width)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps[:, None].float() * torch.exp(-math.log(_LONGEST_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
