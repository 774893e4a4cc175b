"""The shape that Code Llama and Chameleon share: a decoder-only transformer with rotary positions and a gated FFN."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mmprof.tracer.models.generation import INITIALIZER_RANGE, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmprof.tracer.workload import Argument, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Dimensions of a decoder-only transformer.

    Attributes:
        layers: Decoder layers.
        width: Width of the hidden states.
        ffn_width: Width inside the feed-forward network.
        heads: Query heads.
        kv_heads: Key-value heads.
        vocabulary: Tokens.
        positions: Longest sequence.
        rope_theta: Base of the rotary frequencies.
    """

    layers: int
    width: int
    ffn_width: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int
    rope_theta: float

    def config(self, attention: str) -> dict[str, Any]:
        """Arguments that `LlamaConfig` and `ChameleonConfig` have in common."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.ffn_width,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "rms_norm_eps": 1e-5,
            "initializer_range": INITIALIZER_RANGE,
            # an end of sequence would make the length depend on the random weights
            "bos_token_id": None,
            "eos_token_id": None,
            "attn_implementation": attention,
        }

    def kv_cache_bytes(self, request: Request, *, sequences: int, positions: int) -> int:
        """Bytes of the keys and values of `positions` tokens in each of `sequences`, in the request's dtype."""
        per_token = 2 * self.layers * self.kv_heads * (self.width // self.heads)
        return per_token * sequences * positions * torch_dtype(request).itemsize

    def arguments(self) -> dict[str, Argument]:
        """The dimensions, for `Workload.arguments`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens in and out.

    Attributes:
        inputs: Tokens of the prompt.
        outputs: Tokens to generate.
    """

    inputs: int
    outputs: int

    def requested(self, request: Request) -> Lengths:
        """These, where the request names no others."""
        return Lengths(request.input_length or self.inputs, request.output_length or self.outputs)

    def spread(self, count: int, share: float, seed: int) -> list[Lengths]:
        """Lengths of several requests: both numbers drawn evenly from up to `share` below to up to `share` above these.

        Raises:
            ValueError: If `share` would leave nothing of a request.
        """
        if not 0 <= share < 1:
            raise ValueError(f"a spread of {share:g}: lengths differ by a share from 0 to below 1")
        draw = random.Random(seed)  # noqa: S311  (lengths are no secret)

        def drawn(middle: int) -> int:
            return max(1, round(middle * draw.uniform(1 - share, 1 + share)))

        return [Lengths(drawn(self.inputs), drawn(self.outputs)) for _ in range(count)]

    def require(self, *, positions: int) -> None:
        """Raise where both together exceed the model's positions.

        Raises:
            ValueError: If they do.
        """
        if self.inputs + self.outputs > positions:
            raise ValueError(
                f"{self.inputs} tokens in and {self.outputs} out exceed the model's {positions} positions"
            )


def of_variant(shapes: Mapping[tuple[str, str], T], request: Request) -> T:
    """The shape of a request's size and of its option `variant`.

    Raises:
        ValueError: If the size has no such variant.
    """
    size, variant = request.size, str(request.options["variant"])
    if (size, variant) not in shapes:
        known = ", ".join(name for of, name in shapes if of == size)
        raise ValueError(f"size {size} has no variant {variant}, only {known}")
    return shapes[size, variant]
