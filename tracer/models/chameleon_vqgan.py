"""The image decoder of Chameleon's VQGAN: transformers has the encoder and the codebook only."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers.models.chameleon.modeling_chameleon import (
    ChameleonVQVAEEncoderAttnBlock,
    ChameleonVQVAEEncoderResnetBlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import ChameleonVQVAEConfig
    from transformers.models.chameleon.modeling_chameleon import ChameleonVQVAE

_residual = cast("Callable[..., nn.Module]", ChameleonVQVAEEncoderResnetBlock)
_attention = cast("Callable[[int], nn.Module]", ChameleonVQVAEEncoderAttnBlock)


class ImageDecoder(nn.Module):
    """Latents [batch, latent channels, grid, grid] to pixels [batch, 3, resolution, resolution].

    The mirror image of the encoder: at each resolution one residual block more than there, then nearest-neighbour
    upsampling and a convolution; attention at the lowest resolution only, as in the published configuration.
    Source: facebookresearch/chameleon, inference/vqgan.py, after CompVis/taming-transformers.
    """

    def __init__(self, config: ChameleonVQVAEConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in reversed(config.channel_multiplier)]
        lowest, highest = widths[0], widths[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, lowest, 3, padding=1)
        self.mid = nn.Sequential(
            _residual(config, lowest, lowest), _attention(lowest), _residual(config, lowest, lowest)
        )
        self.up = nn.Sequential(*_levels(config, widths))
        self.norm_out = nn.GroupNorm(32, highest, eps=1e-6)
        self.conv_out = nn.Conv2d(highest, config.in_channels, 3, padding=1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """The image of latents."""
        hidden: torch.Tensor = self.up(self.mid(self.conv_in(latents)))
        return cast("torch.Tensor", self.conv_out(nn.functional.silu(self.norm_out(hidden))))

    def init_weights(self) -> None:
        """Fill all parameters the way torch's own modules do."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.GroupNorm)):
                module.reset_parameters()


def image_of_codes(vq: ChameleonVQVAE, decoder: ImageDecoder, codes: torch.Tensor) -> torch.Tensor:
    """Pixels [batch, 3, resolution, resolution] of codes [batch, grid * grid], row by row."""
    grid = int(codes.shape[1] ** 0.5)
    vectors = vq.quantize.embedding(codes).unflatten(1, (grid, grid))
    latents = vq.post_quant_conv(vectors.permute(0, 3, 1, 2))
    return cast("torch.Tensor", decoder(latents))


def _levels(config: ChameleonVQVAEConfig, widths: list[int]) -> list[nn.Module]:
    levels: list[nn.Module] = []
    for level, width in enumerate(widths):
        before = widths[max(level - 1, 0)]
        ins = [before] + [width] * config.num_res_blocks
        levels += [_residual(config, channels, width) for channels in ins]
        if level < len(widths) - 1:
            levels += [nn.Upsample(scale_factor=2.0), nn.Conv2d(width, width, 3, padding=1)]
    return levels
