"""A model whose work can be cut without another result."""

from __future__ import annotations

import torch
from torch import nn


class Rounds(nn.Module):
    """The same product again and again; the last one counts."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 64
        self.product = nn.Linear(96, 96)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.rounds):
            made = self.product(x)
        return made


def make() -> tuple[nn.Module, torch.Tensor]:
    return Rounds(), torch.ones(64, 96)


class Noise(nn.Module):
    """Another output at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.rand(4)


def make_random() -> tuple[nn.Module, torch.Tensor]:
    return Noise(), torch.ones(2, 4)
