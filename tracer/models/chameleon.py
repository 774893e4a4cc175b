"""Chameleon from transformers' classes: text from an image, an image from text, with a key-value cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from transformers import ChameleonForConditionalGeneration

from mmprof.tracer.models.chameleon_image import ImageGeneration, ImagePlan, guidance_prompt
from mmprof.tracer.models.chameleon_shapes import (
    BEGIN,
    BEGIN_IMAGE,
    END_IMAGE,
    IMAGE,
    SHAPES,
    ChameleonShape,
    lengths,
)
from mmprof.tracer.models.chameleon_vqgan import ImageDecoder
from mmprof.tracer.models.decoder import Lengths, of_variant
from mmprof.tracer.models.generation import (
    greedy_generation,
    random_model,
    random_tokens,
    torch_dtype,
)
from mmprof.tracer.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmprof.tracer.workload import Argument, Request


class _Models(NamedTuple):
    chameleon: ChameleonForConditionalGeneration
    image_decoder: ImageDecoder


class _Requested(NamedTuple):
    """A request with its defaults resolved."""

    request: Request
    shape: ChameleonShape
    lengths: Lengths

    @property
    def makes_image(self) -> bool:
        return self.request.task == "T-I"

    @property
    def guidance(self) -> int:
        return int(self.request.options["guidance"]) if self.makes_image else 1

    @property
    def steps(self) -> int:
        """Decode steps; the first new text token comes from prefill."""
        return self.lengths.outputs if self.makes_image else self.lengths.outputs - 1


def build(request: Request) -> Workload:
    """The workload of a request.

    I-T and IT-T: `output_length` text tokens take one prefill and `output_length - 1` decode steps.
    T-I: `output_length` image tokens take as many decode steps; see `ImageGeneration`.

    Raises:
        ValueError: If the variant does not exist at the size, or a length does not fit the model or its images.
    """
    asked = _resolved(request)
    models = _Models(
        random_model(lambda: make_model(asked.shape, request.attention), request),
        random_model(lambda: make_image_decoder(asked.shape), request),
    )
    return Workload(
        name="chameleon",
        models=models._asdict() if asked.makes_image else {"chameleon": models.chameleon},
        run=(_image_generation if asked.makes_image else _text_generation)(models, asked),
        arguments=_arguments(asked),
        # each decode step adds one position
        kv_cache_bytes=asked.shape.text.kv_cache_bytes(
            request,
            sequences=request.batch * asked.guidance,
            positions=asked.lengths.inputs + asked.steps,
        ),
        steps=asked.steps,
    )


def make_model(shape: ChameleonShape, attention: str) -> ChameleonForConditionalGeneration:
    """The language model with the image tokenizer, in torch's default device and dtype."""
    return ChameleonForConditionalGeneration(shape.config(attention))


def make_image_decoder(shape: ChameleonShape) -> ImageDecoder:
    """The image decoder, in torch's default device and dtype."""
    return ImageDecoder(shape.image.config())


def _resolved(request: Request) -> _Requested:
    shape = of_variant(SHAPES, request)
    asked = _Requested(request, shape, lengths(request.task, shape.image).requested(request))
    asked.lengths.require(positions=shape.text.positions)
    image = shape.image.tokens
    if asked.makes_image and asked.lengths.outputs > image:
        raise ValueError(f"{asked.lengths.outputs} tokens out: an image has {image}")
    if not asked.makes_image and asked.lengths.inputs < image + 3:
        raise ValueError(
            f"{asked.lengths.inputs} tokens in: an image with its marks has {image + 3}"
        )
    return asked


def _text_generation(models: _Models, asked: _Requested) -> Callable[[], object]:
    request, side = asked.request, asked.shape.image.resolution
    seeded = torch.Generator().manual_seed(request.seed)
    pixels = torch.rand((request.batch, 3, side, side), generator=seeded) * 2 - 1
    return greedy_generation(
        models.chameleon,
        _prompt_with_image(asked),
        asked.lengths.outputs,
        before="encode",
        pixel_values=pixels.to(request.device, torch_dtype(request)),
    )


def _image_generation(models: _Models, asked: _Requested) -> Callable[[], object]:
    options, shape = asked.request.options, asked.shape
    text = _text(asked, asked.lengths.inputs)
    text[:, 0] = BEGIN
    plan = ImagePlan(
        steps=asked.steps,
        image_length=shape.image.tokens,
        codes=shape.image.codes,
        guidance=asked.guidance,
        sampling=bool(options["sampling"]),
        seed=asked.request.seed,
    )
    return ImageGeneration(*models, guidance_prompt(text, asked.guidance), plan)


def _prompt_with_image(asked: _Requested) -> torch.Tensor:
    """Token ids [batch, input_length]: the beginning, a placeholder for each image token between marks, text."""
    ids, image = _text(asked, asked.lengths.inputs), asked.shape.image.tokens
    marked = [BEGIN, BEGIN_IMAGE, *[IMAGE] * image, END_IMAGE]
    ids[:, : len(marked)] = torch.tensor(marked)
    return ids


def _text(asked: _Requested, length: int) -> torch.Tensor:
    return random_tokens(
        (asked.request.batch, length),
        asked.request,
        low=asked.shape.first_text_token,
        high=asked.shape.text.vocabulary,
    )


def _arguments(asked: _Requested) -> dict[str, Argument]:
    image = asked.shape.image
    arguments: dict[str, Argument] = {
        **asked.shape.text.arguments(),
        "swin_norm": asked.shape.swin_norm,
        "image_resolution": image.resolution,
        "image_tokens": image.tokens,
        "input_length": asked.lengths.inputs,
        "output_length": asked.lengths.outputs,
        "seed": asked.request.seed,
    }
    drawn = ("guidance", "sampling") if asked.makes_image else ()
    return arguments | {name: asked.request.options[name] for name in drawn}
