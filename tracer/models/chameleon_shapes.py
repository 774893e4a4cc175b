"""Chameleon's shapes: transformer, image tokenizer, vocabulary, lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transformers import ChameleonConfig, ChameleonVQVAEConfig

from mmprof.tracer.models.decoder import DecoderShape, Lengths
from mmprof.tracer.models.generation import INITIALIZER_RANGE

BEGIN, BEGIN_IMAGE, END_IMAGE, IMAGE, FIRST_CODE = range(5)
"""Token ids; a layout of our own, because the weights are random: special tokens, then the image's codes, then text."""


@dataclass(frozen=True, slots=True)
class ImageShape:
    """Dimensions of the VQGAN, which makes an image a square of codes.

    Attributes:
        resolution: Pixels of a side.
        channels: Channels at full resolution.
        multipliers: Factor of the channels at each resolution; from one to the next, sides are halved.
        codes: Entries of the codebook.
        latent: Width of the latents and of the codebook's entries.
    """

    resolution: int
    channels: int
    multipliers: tuple[int, ...]
    codes: int
    latent: int

    @property
    def tokens(self) -> int:
        """Tokens of an image."""
        return (self.resolution >> (len(self.multipliers) - 1)) ** 2

    def config(self) -> ChameleonVQVAEConfig:
        """As transformers wants it; the residual blocks and the attention are its defaults."""
        config = ChameleonVQVAEConfig(
            resolution=self.resolution,
            base_channels=self.channels,
            channel_multiplier=list(self.multipliers),
            num_embeddings=self.codes,
            latent_channels=self.latent,
            embed_dim=self.latent,
        )
        config.initializer_range = INITIALIZER_RANGE
        return config


@dataclass(frozen=True, slots=True)
class ChameleonShape:
    """Dimensions of a Chameleon.

    Attributes:
        text: Its transformer, over text and image tokens.
        image: Its image tokenizer.
        swin_norm: Whether norms follow attention and feed-forward network instead of preceding them.
    """

    text: DecoderShape
    image: ImageShape
    swin_norm: bool = False

    @property
    def first_text_token(self) -> int:
        """The smallest id of a text token."""
        return FIRST_CODE + self.image.codes

    def config(self, attention: str) -> ChameleonConfig:
        """As transformers wants it."""
        return ChameleonConfig(
            **self.text.config(attention),
            swin_norm=self.swin_norm,
            vq_config=self.image.config(),
            vocabulary_map=vocabulary(self.image.codes),
        )


def vocabulary(codes: int) -> dict[str, int]:
    """The names by which transformers finds the placeholder of an image and its codes, whose digits are spelt A to J."""
    letters = str.maketrans("0123456789", "ABCDEFGHIJ")
    names = (f"IMGIMG{code}Z".translate(letters) for code in range(codes))
    return {"<image>": IMAGE} | {name: FIRST_CODE + code for code, name in enumerate(names)}


_PUBLISHED_IMAGE: Final = ImageShape(512, 128, (1, 1, 2, 2, 4), codes=8192, latent=256)

SHAPES: Final = {
    ("tiny", "7B"): ChameleonShape(
        DecoderShape(
            layers=4,
            width=128,
            ffn_width=352,
            heads=4,
            kv_heads=4,
            vocabulary=1024,
            positions=2048,
            rope_theta=1e4,
        ),
        ImageShape(32, 32, (1, 1, 2, 2), codes=256, latent=32),
    ),
    ("small", "7B"): ChameleonShape(
        DecoderShape(
            layers=8,
            width=512,
            ffn_width=1536,
            heads=8,
            kv_heads=8,
            vocabulary=16384,
            positions=4096,
            rope_theta=1e4,
        ),
        ImageShape(256, 32, (1, 1, 2, 2, 4), codes=8192, latent=256),
    ),
    # transformers' ChameleonConfig, whose defaults are chameleon-7b
    ("full", "7B"): ChameleonShape(
        DecoderShape(
            layers=32,
            width=4096,
            ffn_width=11008,
            heads=32,
            kv_heads=32,
            vocabulary=65536,
            positions=4096,
            rope_theta=1e4,
        ),
        _PUBLISHED_IMAGE,
    ),
    # layers and heads are published; width, FFN and key-value heads are those of Code Llama 34B, which give 34.3 B
    ("full", "34B"): ChameleonShape(
        DecoderShape(
            layers=48,
            width=8192,
            ffn_width=22016,
            heads=64,
            kv_heads=8,
            vocabulary=65536,
            positions=4096,
            rope_theta=1e4,
        ),
        _PUBLISHED_IMAGE,
        swin_norm=True,
    ),
}
"""Dimensions by size and variant."""


def lengths(task: str, image: ImageShape) -> Lengths:
    """Mmprof's default lengths, the same at every size but for the tokens of the image.

    At `full` they are about a caption of a COCO image (I-T: 1,030 tokens in, 30 out), an answer about a VizWiz image
    (IT-T: 1,040 in, 10 out) and an image for a COCO caption (T-I: 14 in, 1,024 out).
    """
    return {
        "I-T": Lengths(image.tokens + 6, 30),
        "IT-T": Lengths(image.tokens + 16, 10),
        "T-I": Lengths(14, image.tokens),
    }[task]
