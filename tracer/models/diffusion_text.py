"""The text encoder of latent diffusion: CLIP's text transformer (openai/CLIP, model.py; the ViT-L/14 one at `full`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmprof.tracer.models.diffusion_blocks import Attention, AttentionKind, initialize


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The architecture.

    Attributes:
        width: Width of a token.
        layers: Layers.
        heads: Attention heads.
        vocabulary: Tokens; the last two begin and end a text.
        positions: Longest text, in tokens.
    """

    width: int
    layers: int
    heads: int
    vocabulary: int
    positions: int = 77


class TextMlp(nn.Module):
    """Two linear layers around x * sigmoid(1.702 x), CLIP's approximation of GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wider = nn.Linear(width, 4 * width)
        self.narrower = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) to the same."""
        wide: Tensor = self.wider(x)
        narrow: Tensor = self.narrower(wide * torch.sigmoid(1.702 * wide))
        return narrow


class TextLayer(nn.Module):
    """Causal self-attention and an MLP, each after its norm."""

    def __init__(self, config: TextConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, heads=config.heads, kind=kind, bias=True)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = TextMlp(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) to the same."""
        x = x + self.attention(self.attention_norm(x), causal=True)
        y: Tensor = self.mlp(self.mlp_norm(x))
        return x + y


class TextEncoder(nn.Module):
    """Tokens to what the U-Net attends to."""

    def __init__(self, config: TextConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        self.layers = nn.ModuleList(TextLayer(config, kind) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) tokens to (batch, length, width)."""
        x: Tensor = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        encoded: Tensor = self.norm(x)
        return encoded

    def init_weights(self) -> None:
        """Fill the weights at random."""
        initialize(self)
