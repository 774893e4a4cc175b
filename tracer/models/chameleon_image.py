"""Image generation with Chameleon: a loop over image tokens with guidance in the batch, then the image decoder.

transformers' `generate` cannot: its model forbids image tokens. The loop follows the published runtime
(facebookresearch/chameleon, inference/chameleon.py): the prompt is copied `guidance` times into the batch, with less to
see in each copy; the logits of the copies are combined; the selected token continues all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

import torch
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from mmprof.tracer.models.chameleon_shapes import BEGIN_IMAGE, FIRST_CODE
from mmprof.tracer.models.chameleon_vqgan import image_of_codes
from mmprof.tracer.phases import PhaseSequence

if TYPE_CHECKING:
    from transformers import ChameleonForConditionalGeneration, ChameleonModel

    from mmprof.tracer.models.chameleon_vqgan import ImageDecoder

# The published runtime's defaults (Options.Image, Options.Image.CFG).
TEXT_SCALE: Final = 3.0
IMAGE_SCALE: Final = 1.2
TEMPERATURE: Final = 0.7
TOP_P: Final = 0.9


class Image(NamedTuple):
    """What a request makes.

    Attributes:
        codes: Entries of the codebook, [batch, image tokens].
        pixels: [batch, 3, resolution, resolution].
    """

    codes: torch.Tensor
    pixels: torch.Tensor


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """How an image is generated.

    Attributes:
        steps: Decode steps, one per generated image token.
        image_length: Image tokens of a whole image.
        codes: Entries of the codebook.
        guidance: Copies of the prompt in the batch, 1 to 3.
        sampling: Draw tokens, with the published temperature and top-p, instead of taking the likeliest.
        seed: Seeds the draws.
    """

    steps: int
    image_length: int
    codes: int
    guidance: int
    sampling: bool
    seed: int


class Prompt(NamedTuple):
    """Copies of the prompts, [guidance * batch, tokens], padded on the left.

    Attributes:
        ids: Token ids.
        mask: 1 for a token, 0 for padding.
    """

    ids: torch.Tensor
    mask: torch.Tensor


class TokenChoice(Protocol):
    """Chooses a code, [batch], from its logits, [batch, codes]."""

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The chosen codes."""


def guidance_prompt(ids: torch.Tensor, guidance: int) -> Prompt:
    """The prompts, then `guidance - 1` copies without text: only the first token is left, right-aligned.

    A prompt of text alone has no image, so that the published image-only copy is equal to the unconditional one.
    """
    mask = torch.ones_like(ids)
    without_text = torch.zeros_like(ids)
    without_text[:, -1] = 1
    blank = torch.zeros_like(ids)
    blank[:, -1] = ids[:, 0]
    copies = guidance - 1
    return Prompt(torch.cat([ids] + [blank] * copies), torch.cat([mask] + [without_text] * copies))


def guided(logits: torch.Tensor, guidance: int) -> torch.Tensor:
    """Logits [batch, codes] of those of all copies, [guidance * batch, codes].

    Two copies: none + s_text (full - none); three: none + s_image (image - none) + s_text (full - image), which is
    InstructPix2Pix's classifier-free guidance. Source: inference/logits_processor.py of the published runtime.
    """
    if guidance == 1:
        return logits
    if guidance == 2:
        full, none = logits.chunk(2)
        return none + TEXT_SCALE * (full - none)
    full, image, none = logits.chunk(3)
    return none + IMAGE_SCALE * (image - none) + TEXT_SCALE * (full - image)


@dataclass(frozen=True, slots=True)
class ImageGeneration:
    """One T-I request, called to run.

    The prompt's last token, which begins the image, is the input of the first decode step, and step `i` yields image
    token `i`: there are as many decode steps as image tokens, and prefill needs no logits.

    Attributes:
        model: The language model and the tokenizer of images.
        decoder: The decoder of images.
        prompt: The prompts without the token that begins an image.
        plan: How the image is generated.
    """

    model: ChameleonForConditionalGeneration
    decoder: ImageDecoder
    prompt: Prompt
    plan: ImagePlan

    def __call__(self) -> Image:
        """Generate the codes, then decode the image."""
        with torch.inference_mode(), PhaseSequence() as phases:
            codes = self._whole(self._codes(phases))
            phases.enter("image_decode")
            return Image(codes, image_of_codes(self.model.model.vqmodel, self.decoder, codes))

    def _codes(self, phases: PhaseSequence) -> torch.Tensor:
        plan, choose = self.plan, token_choice(self.plan, self.prompt.ids.device)
        phases.enter("prefill")
        reader = CachedReader(self.model.model)
        reader.read(*self.prompt)
        token = torch.full_like(self.prompt.ids[:, :1], BEGIN_IMAGE)
        codes: list[torch.Tensor] = []
        for step in range(plan.steps):
            phases.enter("decode", step)
            hidden = reader.read(token, torch.ones_like(token))
            logits = self.model.lm_head(hidden[:, -1])[:, FIRST_CODE : FIRST_CODE + plan.codes]
            codes.append(choose(guided(logits.float(), plan.guidance)))
            token = (FIRST_CODE + codes[-1]).repeat(plan.guidance)[:, None]
        return torch.stack(codes, dim=1)

    def _whole(self, codes: torch.Tensor) -> torch.Tensor:
        """The codes of a whole image; what was not generated repeats its first token, as in the published runtime."""
        missing = self.plan.image_length - codes.shape[1]
        return torch.cat([codes, codes[:, :1].expand(-1, missing)], dim=1)


class CachedReader:
    """Reads tokens with a key-value cache that begins empty."""

    def __init__(self, model: ChameleonModel) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._mask: torch.Tensor | None = None

    def read(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden states, [rows, tokens, width], of the next tokens, [rows, tokens]; 0 in the mask is padding."""
        self._mask = mask if self._mask is None else torch.cat([self._mask, mask], dim=1)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return cast("torch.Tensor", output.last_hidden_state)


def token_choice(plan: ImagePlan, device: torch.device) -> TokenChoice:
    """The likeliest code; or one drawn with the published temperature and top-p, anew from the seed."""
    if not plan.sampling:
        return lambda logits: logits.argmax(-1)
    generator = torch.Generator(device).manual_seed(plan.seed)
    warp = LogitsProcessorList([TemperatureLogitsWarper(TEMPERATURE), TopPLogitsWarper(TOP_P)])

    def draw(logits: torch.Tensor) -> torch.Tensor:
        likely = warp(torch.LongTensor(), logits).softmax(-1)
        return torch.multinomial(likely, 1, generator=generator)[:, 0]

    return draw
