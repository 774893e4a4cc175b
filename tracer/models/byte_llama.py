"""A Llama that reads and writes bytes: small enough to be trained in minutes, and trained to be left at an early layer.

Its weights are a file that `python -m fixtures.train_byte_llama` makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.models.decoder import DecoderShape
from mmprof.tracer.models.llama import with_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE: Final = "MM-E065"
WEIGHTS: Final = Path(__file__).resolve().parents[2] / "fixtures" / "weights" / "byte-llama.pt"

SHAPE: Final = DecoderShape(
    layers=12,
    width=128,
    ffn_width=384,
    heads=4,
    kv_heads=4,
    vocabulary=256,
    positions=1024,
    rope_theta=1e4,
)
"""Deep and narrow: what an early exit saves are layers."""

INITIALIZER_RANGE: Final = 0.06
"""About 1 over the root of the width: with the usual 0.02 so narrow a model learns nothing for many steps."""

CONTEXT: Final = 128
"""Bytes that it was trained to see at once: behind that it writes worse."""

EXIT_LAYER: Final = 2
"""The number of layers after which it was trained to be left."""

_LEVELS: Final = 127
"""Largest int8 that a weight is stored as."""


def make_byte_llama(attention: str) -> LlamaForCausalLM:
    """The untrained model, in torch's default device and dtype."""
    settings = SHAPE.config(attention) | {
        "initializer_range": INITIALIZER_RANGE,
        "tie_word_embeddings": True,
    }
    return LlamaForCausalLM(LlamaConfig(**settings))


def pretrained_byte_llama(attention: str, path: Path = WEIGHTS) -> LlamaForCausalLM:
    """The trained model in float32, for inference.

    Raises:
        MmprofError: There are no weights.
    """
    if not path.is_file():
        raise MmprofError(
            CODE,
            "the weights of the byte-level Llama are not there",
            found=f"no {path.name} in {path.parent}",
            hint="python -m fixtures.train_byte_llama, in a checkout, makes them in about five minutes",
        )
    weights = unpacked(torch.load(path, weights_only=True))
    return with_weights(lambda: make_byte_llama(attention), weights)


def packed(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    """The weights as int8 with a scale for each row, and vectors in float32; tied ones once."""
    packed_weights: dict[str, torch.Tensor] = {}
    for name, weight in model.model.state_dict(prefix="model.").items():
        if weight.dim() < 2:
            packed_weights[name] = weight.float().clone()
            continue
        scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / _LEVELS
        packed_weights[name] = (weight / scale).round().to(torch.int8)
        packed_weights[f"{name}/scale"] = scale[:, 0].clone()
    return packed_weights


def unpacked(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in float32; see `packed`."""
    return {
        name: weight.float() * weights[f"{name}/scale"][:, None]
        if weight.dtype == torch.int8
        else weight
        for name, weight in weights.items()
        if not name.endswith("/scale")
    }


def encode(text: str) -> list[int]:
    """Token ids of a text: its bytes."""
    return list(text.encode())


def decode(tokens: list[int]) -> str:
    """The text of token ids; what is no UTF-8 is replaced."""
    return bytes(tokens).decode(errors="replace")
