"""What the text encoder, the U-Net and the image decoder of latent diffusion are built of (CompVis/stable-diffusion)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

AttentionKind: TypeAlias = Literal["eager", "sdpa"]


class Attention(nn.Module):
    """Multi-head attention to the same sequence, or to another one.

    Args:
        width: Width of the queries' sequence and of the result.
        heads: Heads.
        kind: `eager` makes the matrix of scores, `sdpa` leaves it to torch.
        context_width: Width of the other sequence; 0 for the same one.
        bias: Whether queries, keys and values have biases; the output always has one.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        kind: AttentionKind,
        context_width: int = 0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.kind = kind
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(context_width or width, width, bias=bias)
        self.value = nn.Linear(context_width or width, width, bias=bias)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """(batch, length, width), and (batch, context length, context width) to the former's shape."""
        context = x if context is None else context
        query = self._split_heads(self.query(x))
        key, value = self._split_heads(self.key(context)), self._split_heads(self.value(context))
        if self.kind == "sdpa":
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        else:
            attended = eager_attention(query, key, value, causal=causal)
        output: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return output

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def eager_attention(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """softmax(Q K^T / sqrt(width)) V of (batch, heads, length, width)."""
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
    if causal:
        future = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(dim=-1) @ value


class ResidualBlock(nn.Module):
    """Two convolutions around what the time step adds.

    Args:
        channels: Channels of the input and of the output.
        groups: Groups of the norms.
        eps: What the norms add to variances.
        time_width: Width of the time step's embedding; 0 where there is no time.
    """

    def __init__(
        self, channels: tuple[int, int], *, groups: int, eps: float, time_width: int = 0
    ) -> None:
        super().__init__()
        before, after = channels
        self.norm1 = nn.GroupNorm(groups, before, eps)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(time_width, after) if time_width else None
        self.norm2 = nn.GroupNorm(groups, after, eps)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """(batch, channels, height, width) and (batch, time width) to (batch, new channels, height, width)."""
        hidden: Tensor = self.conv1(functional.silu(self.norm1(x)))
        if self.time is not None and time is not None:
            hidden = hidden + self.time(functional.silu(time))[:, :, None, None]
        changed: Tensor = self.conv2(functional.silu(self.norm2(hidden)))
        kept: Tensor = self.shortcut(x)
        return kept + changed


class Upsample(nn.Module):
    """Twice the height and width, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, channels, 2 * height, 2 * width)."""
        larger: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return larger


def initialize(model: nn.Module) -> None:
    """Normal weights of variance 1 / inputs, so that activations keep their size; zero biases; norms that only normalize."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear | nn.Conv2d):
            inputs = module.weight[0].numel()
            nn.init.normal_(module.weight, std=inputs**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
