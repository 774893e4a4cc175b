"""The image decoder of latent diffusion: the decoding half of its autoencoder (ldm/modules/diffusionmodules/model.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from mmprof.tracer.models.diffusion_blocks import (
    Attention,
    AttentionKind,
    ResidualBlock,
    Upsample,
    initialize,
)

_EPS: Final = 1e-6
_LATENT_SCALE: Final = 0.18215
"""scale_factor of configs/stable-diffusion/v1-inference.yaml."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The architecture.

    Attributes:
        channels: Channels of each level, that of the image first; every level but that doubles height and width.
        groups: Groups of the norms.
        blocks: Residual blocks of a level.
        latent_channels: Channels of the latents.
    """

    channels: tuple[int, ...]
    groups: int = 32
    blocks: int = 3
    latent_channels: int = 4

    @property
    def scale(self) -> int:
        """Pixels of the image for each of the latents, in each direction."""
        return int(2 ** (len(self.channels) - 1))


class PixelAttention(nn.Module):
    """Attention of the pixels to each other, in one head."""

    def __init__(self, channels: int, groups: int, kind: AttentionKind) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, _EPS)
        self.attention = Attention(channels, heads=1, kind=kind, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        attended: Tensor = self.attention(pixels)
        return x + attended.transpose(1, 2).reshape(x.shape)


class ImageDecoder(nn.Module):
    """Latents to an image."""

    def __init__(self, config: ImageConfig, kind: AttentionKind) -> None:
        super().__init__()
        last = config.channels[-1]
        self.post_quantization = nn.Conv2d(config.latent_channels, config.latent_channels, 1)
        self.input = nn.Conv2d(config.latent_channels, last, 3, padding=1)
        self.middle = nn.Sequential(
            ResidualBlock((last, last), groups=config.groups, eps=_EPS),
            PixelAttention(last, config.groups, kind),
            ResidualBlock((last, last), groups=config.groups, eps=_EPS),
        )
        self.up = nn.Sequential(*_up(config))
        self.norm = nn.GroupNorm(config.groups, config.channels[0], _EPS)
        self.output = nn.Conv2d(config.channels[0], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(batch, latent channels, height, width) to (batch, 3, scale * height, scale * width) from 0 to 1."""
        x = self.input(self.post_quantization(latents / _LATENT_SCALE))
        x = self.up(self.middle(x))
        image: Tensor = self.output(functional.silu(self.norm(x)))
        return (image / 2 + 0.5).clamp(0, 1)

    def init_weights(self) -> None:
        """Fill the weights at random."""
        initialize(self)


def _up(config: ImageConfig) -> Iterator[nn.Module]:
    before = config.channels[-1]
    for level in reversed(range(len(config.channels))):
        channels = config.channels[level]
        for _ in range(config.blocks):
            yield ResidualBlock((before, channels), groups=config.groups, eps=_EPS)
            before = channels
        if level > 0:
            yield Upsample(channels)
