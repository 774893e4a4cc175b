"""Code Llama from transformers' Llama classes: its shapes, and text generation with a key-value cache."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from mmprof.tracer.models.decoder import DecoderShape, Lengths, of_variant
from mmprof.tracer.models.generation import (
    greedy_generation,
    on_meta,
    random_model,
    random_tokens,
)
from mmprof.tracer.scheduling.in_turn import in_turn
from mmprof.tracer.workload import GreedyRequest, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from mmprof.tracer.workload import Request

SHAPES: Final = {
    # narrower and shallower than 7B; the vocabulary is cut so that layers, not the head, take most of a step
    ("tiny", "7B"): DecoderShape(
        layers=4,
        width=128,
        ffn_width=352,
        heads=4,
        kv_heads=4,
        vocabulary=1024,
        positions=2048,
        rope_theta=1e6,
    ),
    ("small", "7B"): DecoderShape(
        layers=8,
        width=512,
        ffn_width=1536,
        heads=8,
        kv_heads=8,
        vocabulary=32016,
        positions=4096,
        rope_theta=1e6,
    ),
    # gpt-fast, model.py: CodeLlama-7b; the vocabulary is that of codellama/CodeLlama-7b-hf
    ("full", "7B"): DecoderShape(
        layers=32,
        width=4096,
        ffn_width=11008,
        heads=32,
        kv_heads=32,
        vocabulary=32016,
        positions=16384,
        rope_theta=1e6,
    ),
    # gpt-fast, model.py: CodeLlama-34b
    ("full", "34B"): DecoderShape(
        layers=48,
        width=8192,
        ffn_width=22016,
        heads=64,
        kv_heads=8,
        vocabulary=32000,
        positions=16384,
        rope_theta=1e6,
    ),
}
"""Dimensions by size and variant."""

LENGTHS: Final = {"tiny": Lengths(16, 8), "small": Lengths(154, 32), "full": Lengths(154, 692)}
"""mmprof's default lengths: at `full` about a HumanEval prompt and its completion, below that scaled down."""


def build(request: Request) -> Workload:
    """The workload of a request; `output_length` tokens take one prefill and `output_length - 1` decode steps.

    With the option `requests` above 1 a run serves as many requests, whose lengths lie around these.

    Raises:
        ValueError: If the variant does not exist at the size, a sequence is too long for it, or the options of several
            requests do not fit.
    """
    shape, lengths = of_variant(SHAPES, request), LENGTHS[request.size].requested(request)
    lengths.require(positions=shape.positions)
    model = random_model(lambda: make_model(shape, request.attention), request)
    prompt = random_tokens((request.batch, lengths.inputs), request, low=0, high=shape.vocabulary)
    steps = lengths.outputs - 1
    one = Workload(
        name="llama",
        models={"": model},
        run=greedy_generation(model, prompt, lengths.outputs),
        arguments={
            **shape.arguments(),
            "input_length": lengths.inputs,
            "output_length": lengths.outputs,
            "seed": request.seed,
        },
        # each decode step adds one position
        kv_cache_bytes=shape.kv_cache_bytes(
            request, sequences=request.batch, positions=lengths.inputs + steps
        ),
        steps=steps,
    )
    return one if request.options["requests"] == 1 else _several(one, request, lengths)


def _several(one: Workload, request: Request, lengths: Lengths) -> Workload:
    """The workload that serves several requests one after the other, as a server without a scheduler does."""
    shape, options = of_variant(SHAPES, request), request.options
    each = _spread(request, lengths)
    longest = max(each, key=lambda own: own.inputs + own.outputs)
    longest.require(positions=shape.positions)
    inputs, outputs = [own.inputs for own in each], [own.outputs for own in each]
    prompts = random_tokens((1, sum(inputs)), request, low=0, high=shape.vocabulary)
    pairs = zip(torch.split(prompts, inputs, dim=1), outputs, strict=True)
    queue = in_turn(one.models[""], [GreedyRequest(*pair) for pair in pairs])
    lasting = longest.inputs + longest.outputs - 1
    told = {name: options[name] for name in ("requests", "request_spread")}
    tokens = {"input_tokens": sum(inputs), "output_tokens": sum(outputs)}
    return replace(
        one,
        run=queue,
        arguments={**one.arguments, **told, **tokens},
        kv_cache_bytes=shape.kv_cache_bytes(request, sequences=1, positions=lasting),
        steps=sum(outputs) - len(outputs),
        queue=queue,
    )


def _spread(request: Request, lengths: Lengths) -> list[Lengths]:
    count, share = int(request.options["requests"]), float(request.options["request_spread"])
    if count < 1:
        raise ValueError(f"requests={count}: a run serves one at least")
    if request.batch > 1:
        raise ValueError(
            f"a batch of {request.batch} and requests={count}: each request runs alone"
        )
    return lengths.spread(count, share, request.seed)


def make_model(shape: DecoderShape, attention: str) -> LlamaForCausalLM:
    """The model of a shape, in torch's default device and dtype."""
    return LlamaForCausalLM(LlamaConfig(**shape.config(attention)))


def with_weights(
    make: Callable[[], LlamaForCausalLM], weights: Mapping[str, torch.Tensor]
) -> LlamaForCausalLM:
    """A model whose head is its embedding, with weights in float32, for inference; no memory is filled twice.

    Args:
        make: Makes the model.
        weights: By the names of transformers, without the head.
    """
    model = on_meta(make)
    model.load_state_dict(dict(weights), strict=False, assign=True)
    model.tie_weights()
    # the frequencies are no weights
    model.model.rotary_emb = LlamaRotaryEmbedding(model.config)
    return cast(
        "LlamaForCausalLM", cast("nn.Module", model).eval().requires_grad_(requires_grad=False)
    )


def first_layers(model: LlamaForCausalLM, layers: int) -> LlamaForCausalLM:
    """The model without its deeper layers, on the same weights; its head is its embedding."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = layers
    first = tuple(f"model.layers.{number}." for number in range(layers))
    weights = {
        name: weight
        for name, weight in model.state_dict().items()
        if name.startswith(first) or not name.startswith("model.layers.")
    }
    weights.pop("lm_head.weight")
    return with_weights(lambda: LlamaForCausalLM(config), weights)
