"""SeamlessM4T v2 from transformers with random weights: shapes, lengths, and one request of each task.

Random weights decide neither the number of steps nor the length of the speech: the end of sequence is suppressed until
`output_length` tokens are there, every subword has `CHARACTERS_PER_SUBWORD` characters, and the two duration predictors
say the same for every input.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p, prod
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from transformers import GenerationConfig, SeamlessM4Tv2Config, SeamlessM4Tv2Model

from mmprof.tracer.models.generation import (
    INITIALIZER_RANGE,
    random_model,
    random_tokens,
    torch_dtype,
)
from mmprof.tracer.models.seamless_phases import request_phases
from mmprof.tracer.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from mmprof.tracer.workload import Argument, Request

CHARACTERS_PER_SUBWORD: Final = 4
UNITS_PER_CHARACTER: Final = 3
"""With 4 characters a subword: the default request at `full` speaks 8.4 s after it heard 9.9 s. Our choice."""

DECODER_PROMPT: Final = 2
"""Tokens that beam search starts from: the start token and the target language."""

_LANGUAGE: Final = "eng"
_generation_config = cast("Callable[..., GenerationConfig]", GenerationConfig)
_FIRST_WORD: Final = 4  # below are padding, unknown, begin and end: SeamlessM4Tv2Config
_OTHER_UNIT_IDS: Final = (
    82  # control symbols and languages, as in the published vocabulary of 10,082
)
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"

# mmprof's default lengths: at full about a sentence, 9.9 s of speech or 31 tokens, and its translation
_FRAMES: Final = {"tiny": 64, "small": 256, "full": 493}
_TOKENS: Final = {"tiny": 12, "small": 24, "full": 31}
_OUTPUTS: Final = {"tiny": (8, 8), "small": (24, 24), "full": (36, 35)}


@dataclass(frozen=True, slots=True)
class SeamlessShape:
    """A SeamlessM4T v2 smaller than the published one, in the proportions of the large one.

    Attributes:
        layers: Layers of each of the speech encoder, the text encoder and the text decoder.
        t2u_layers: Layers of each of the text-to-unit encoder and decoder.
        width: Width of the hidden states.
        heads: Attention heads.
        vocabulary: Text tokens.
        units: Units of speech.
    """

    layers: int
    t2u_layers: int
    width: int
    heads: int
    vocabulary: int
    units: int

    def config(self) -> dict[str, Any]:
        """Arguments of `SeamlessM4Tv2Config` that differ from its defaults."""
        width, encoders = self.width, ("speech_encoder", "encoder", "decoder")
        t2u = ("t2u_encoder", "t2u_decoder")
        return {
            "hidden_size": width,
            "vocab_size": self.vocabulary,
            **{f"{part}_layers": self.layers for part in encoders},
            **{f"{part}_layers": self.t2u_layers for part in t2u},
            **{f"{part}_attention_heads": self.heads for part in (*encoders, *t2u)},
            **{f"{part}_ffn_dim": 8 * width for part in (*encoders[1:], *t2u)},
            "speech_encoder_intermediate_size": 4 * width,
            "t2u_variance_predictor_embed_dim": width,
            "t2u_variance_predictor_hidden_dim": width // 4,
            "t2u_vocab_size": self.units + _OTHER_UNIT_IDS,
            "unit_hifi_gan_vocab_size": self.units,
            "char_vocab_size": 256,
            "unit_embed_dim": 5 * width // 4,
            "lang_embed_dim": width // 4,
            "spkr_embed_dim": width // 4,
            "upsample_initial_channel": width // 2,
        }


SHAPES: Final = {
    "tiny": SeamlessShape(2, 1, 64, 4, vocabulary=1024, units=100),
    "small": SeamlessShape(6, 2, 512, 8, vocabulary=32_000, units=2000),
}
"""Shapes by size; `full` is the published large v2, which the defaults of SeamlessM4Tv2Config describe."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What one request translates.

    Attributes:
        listens: Whether speech comes in, else text.
        speaks: Whether speech goes out, else text.
        inputs: Frames of 20 ms (two filter-bank frames stacked, as SeamlessM4TFeatureExtractor does) or tokens.
        outputs: Tokens of text to decode, also where speech goes out.
        beams: Beams of the text decoder.
    """

    listens: bool
    speaks: bool
    inputs: int
    outputs: int
    beams: int

    @classmethod
    def of(cls, request: Request) -> Translation:
        """The translation that a request asks for.

        Raises:
            ValueError: No beam, or speech to be made from less than two tokens.
        """
        source, target = request.task.split("-")
        listens, speaks = source == "S", target == "S"
        inputs = request.input_length or (_FRAMES if listens else _TOKENS)[request.size]
        outputs = request.output_length or _OUTPUTS[request.size][0 if listens else 1]
        beams = int(request.options["beams"])
        if beams < 1:
            raise ValueError(f"{beams} beams: at least 1 is needed")
        if speaks and outputs < 2:
            raise ValueError("speech needs an output of 2 tokens: the last one is not spoken")
        return cls(listens, speaks, inputs, outputs, beams)

    def encoder_positions(self, config: SeamlessM4Tv2Config) -> int:
        """Positions that the text decoder attends to: the tokens, or what the length adaptor's convolution leaves."""
        if not self.listens:
            return self.inputs
        kernel, stride = config.adaptor_kernel_size, config.adaptor_stride
        return (self.inputs + 2 * (stride // 2) - kernel) // stride + 1

    @property
    def units(self) -> int:
        """Units spoken: those of every token but the last, which transformers takes for the end of sequence."""
        return (self.outputs - 1) * CHARACTERS_PER_SUBWORD * UNITS_PER_CHARACTER

    def kv_cache_bytes(self, config: SeamlessM4Tv2Config, request: Request) -> int:
        """Bytes of keys and values at the end: self-attention (the last token is never an input) and cross-attention."""
        positions = DECODER_PROMPT + self.outputs - 1 + self.encoder_positions(config)
        rows = request.batch * self.beams
        itemsize = torch_dtype(request).itemsize
        return 2 * config.decoder_layers * rows * positions * config.hidden_size * itemsize


def build(request: Request) -> Workload:
    """The workload of a request; `output_length` tokens take one prefill and `output_length - 1` decode steps.

    Raises:
        ValueError: A length or a number of beams that the task cannot have.
    """
    translation = Translation.of(request)
    model = random_model(lambda: make_model(request.size, request.attention), request)
    fix_speech_length(model)
    vary_tokens(model, request.seed)
    model.generation_config = generation_config(model.config, translation)
    return Workload(
        name="seamless",
        models={"": model},
        run=_generation(
            model, _inputs(model.config, translation, request), speaks=translation.speaks
        ),
        arguments=_arguments(model.config, translation, request),
        kv_cache_bytes=translation.kv_cache_bytes(model.config, request),
        steps=translation.outputs - 1,
    )


def make_model(size: str, attention: str) -> SeamlessM4Tv2Model:
    """The model of a size, in torch's default device and dtype."""
    options: dict[str, Any] = {
        "initializer_range": INITIALIZER_RANGE,
        "attn_implementation": attention,
    }
    shape = SHAPES[size].config() if size in SHAPES else {}
    return SeamlessM4Tv2Model(SeamlessM4Tv2Config(**shape, **options))


@torch.no_grad()
def fix_speech_length(model: SeamlessM4Tv2Model) -> None:
    """Make the length of the speech follow from the number of tokens, with the same modules at work.

    Every character becomes `UNITS_PER_CHARACTER` units and every unit one frame of the vocoder (both predictors say
    log(1 + n)). Ids that are no units, which a trained model does not choose and the vocoder cannot look up, get the
    logit 0 and so never win.
    """
    config = model.config
    _predict(model.t2u_model.model.decoder.duration_predictor, UNITS_PER_CHARACTER)
    _predict(model.vocoder.dur_predictor, 1)
    logits = model.t2u_model.lm_head.weight
    logits[: config.vocoder_offset] = 0
    logits[config.vocoder_offset + config.unit_hifi_gan_vocab_size :] = 0


def _predict(predictor: Any, duration: int) -> None:
    predictor.proj.weight.zero_()
    predictor.proj.bias.fill_(log1p(duration))


@torch.no_grad()
def vary_tokens(model: SeamlessM4Tv2Model, seed: int) -> None:
    """Give the text decoder's last normalization random gains.

    The head is tied to the embedding: with gains of 1 a random model answers each token with that token.
    """
    gains = model.text_decoder.layer_norm.weight
    gains.copy_(torch.randn(gains.shape, generator=torch.Generator().manual_seed(seed)))


def generation_config(config: SeamlessM4Tv2Config, translation: Translation) -> GenerationConfig:
    """How to decode, and the tables that the published checkpoint has beside it, of the same sizes."""
    text_language = config.vocab_size - 1
    return _generation_config(
        num_beams=translation.beams,
        min_new_tokens=translation.outputs,
        max_new_tokens=translation.outputs,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        text_decoder_lang_to_code_id={_LANGUAGE: text_language},
        t2u_lang_code_to_id={_LANGUAGE: config.t2u_vocab_size - 1},
        vocoder_lang_code_to_id={_LANGUAGE: 0},
        id_to_text={str(token): _spelling(token) for token in range(config.vocab_size)},
        char_to_id={letter: _FIRST_WORD + i for i, letter in enumerate(_ALPHABET)},
    )


def _spelling(token: int) -> str:
    """A word of `CHARACTERS_PER_SUBWORD` letters: the token's digits to the base 26."""
    base = len(_ALPHABET)
    return "".join(_ALPHABET[token // base**i % base] for i in range(CHARACTERS_PER_SUBWORD))


def _inputs(
    config: SeamlessM4Tv2Config, translation: Translation, request: Request
) -> dict[str, Tensor]:
    """Features as normalized by the extractor (mean 0, variance 1), or words; nothing is padded."""
    shape = (request.batch, translation.inputs)
    mask = torch.ones(shape, dtype=torch.int64, device=request.device)
    if not translation.listens:
        tokens = random_tokens(shape, request, low=_FIRST_WORD, high=config.vocab_size)
        return {"input_ids": tokens, "attention_mask": mask}
    generator = torch.Generator().manual_seed(request.seed)
    features = torch.randn(*shape, config.feature_projection_input_dim, generator=generator)
    placed = features.to(request.device, torch_dtype(request))
    return {"input_features": placed, "attention_mask": mask}


def _generation(
    model: SeamlessM4Tv2Model, inputs: Mapping[str, Tensor], *, speaks: bool
) -> Callable[[], dict[str, Tensor]]:
    """One request through transformers' `generate`; speech comes with the tokens and units that it was made from."""
    made = (
        ("sequences", "unit_sequences", "waveform", "waveform_lengths")
        if speaks
        else ("sequences",)
    )

    generate: Callable[..., Any] = model.generate

    def run() -> dict[str, Tensor]:
        with torch.inference_mode(), request_phases(model):
            output = generate(
                **inputs,
                tgt_lang=_LANGUAGE,
                generate_speech=speaks,
                return_intermediate_token_ids=speaks,
            )
        return {name: output[name] for name in made}

    return run


def _arguments(
    config: SeamlessM4Tv2Config, translation: Translation, request: Request
) -> dict[str, Argument]:
    samples = translation.units * prod(config.upsample_rates)
    spoken = {"units": translation.units, "samples": samples} if translation.speaks else {}
    return {
        "input_length": translation.inputs,
        "encoder_length": translation.encoder_positions(config),
        "output_length": translation.outputs,
        "beams": translation.beams,
        **spoken,
        "width": config.hidden_size,
        "vocabulary": config.vocab_size,
        "speech_encoder_layers": config.speech_encoder_layers,
        "text_encoder_layers": config.encoder_layers,
        "text_decoder_layers": config.decoder_layers,
        "seed": request.seed,
    }
