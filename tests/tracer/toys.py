"""Small things to trace, and what a trace holds."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmprof.tracer.phases import PhaseSequence
from mmprof.tracer.workload import Workload

DEVICE = "cpu"


class Block(nn.Module):
    """Two layers; the second is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.down(self.up(x)))


class Toy(nn.Module):
    """A stack of blocks."""

    def __init__(self, blocks: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [layer(x) for layer in self.layers]


def generating(steps: int, *, on_step: Callable[[int], None] = lambda _: None) -> Workload:
    """A prefill and some decode steps; `on_step` is called in each."""
    model = Toy().requires_grad_(requires_grad=False)
    x = torch.ones(1, 4)

    def run() -> int:
        with PhaseSequence() as phases:
            phases.enter("prefill")
            model(x)
            for step in range(steps):
                phases.enter("decode", step)
                model(x)
                on_step(step)
        return steps

    return Workload("toy", {"": model}, run, {"seed": 0}, steps=steps)


def events_in(path: Path) -> list[dict[str, Any]]:
    """The complete events of a trace by start, outer ones first."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = [e for e in json.loads(data)["traceEvents"] if e.get("ph") == "X"]
    return sorted(found, key=lambda e: (e["ts"], -e["dur"]))


def annotations_in(path: Path) -> list[str]:
    """The names of the annotations of a trace by start."""
    return [e["name"] for e in events_in(path) if e["cat"] == "user_annotation"]
