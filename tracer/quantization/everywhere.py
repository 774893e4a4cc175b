"""One way to multiply in all linear layers, whatever its speed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from mmprof.tracer.lever_quantization import output_heads
from mmprof.tracer.quantization.candidates import LOSSY
from mmprof.tracer.quantization.choices import ANY_ROWS
from mmprof.tracer.quantization.dispatch import Dispatch, dispatching
from mmprof.tracer.quantization.recording import linear_layers

if TYPE_CHECKING:
    from mmprof.tracer.quantization.candidates import Candidate
    from mmprof.tracer.workload import Workload

_ONE_ROW: Final = 1


def candidate_named(name: str) -> Candidate:
    """The lossy candidate of a name."""
    return next(candidate for candidate in LOSSY if candidate.name == name)


def fitting(workload: Workload, candidate: Candidate, *, heads: bool) -> dict[str, nn.Linear]:
    """The linear layers whose weights a candidate can have, by path.

    Args:
        workload: Whose layers.
        candidate: What should multiply.
        heads: Whether output heads are among them.
    """
    left = set() if heads else set(map(id, output_heads(workload)))
    return {
        path: layer
        for path, layer in linear_layers(workload).items()
        if id(layer) not in left and not candidate.why_not(layer)
    }


def why_none_fits(workload: Workload, candidate: Candidate, *, heads: bool) -> str:
    """Why a candidate fits no linear layer; empty where it fits one."""
    if fitting(workload, candidate, heads=heads):
        return ""
    layers = list(linear_layers(workload).values())
    reasons = filter(None, (candidate.why_not(layer) for layer in layers))
    return next(
        reasons, "no plain linear layer beside output heads" if layers else "no plain linear layer"
    )


@contextmanager
def multiplying(workload: Workload, candidate: Candidate, *, heads: bool) -> Iterator[Workload]:
    """Let a candidate multiply in all layers that it fits.

    Args:
        workload: Whose layers.
        candidate: What multiplies.
        heads: Whether output heads are among them.
    """
    layers = fitting(workload, candidate, heads=heads).values()
    with dispatching({layer: _dispatch(layer, candidate) for layer in layers}):
        yield workload


@torch.no_grad()
def _dispatch(layer: nn.Linear, candidate: Candidate) -> Dispatch:
    product = candidate.make(layer, _ONE_ROW)
    return Dispatch(layer, {ANY_ROWS: product}, candidate.most_rows)
