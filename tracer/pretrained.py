"""Models with real weights: text in, text out, and a perplexity, which says what a lossy lever costs in quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch.nn.functional import cross_entropy

from mmprof.tracer.models import byte_llama, smollm2
from mmprof.tracer.models.decoder import Lengths
from mmprof.tracer.models.generation import greedy_generation, torch_dtype
from mmprof.tracer.models.llama import first_layers
from mmprof.tracer.pretrained_texts import CODE, CODE_PROMPT, ENGLISH, ENGLISH_PROMPT
from mmprof.tracer.workload import Quality, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from transformers import LlamaForCausalLM

    from mmprof.tracer.workload import Argument, Request

OUTPUT_LENGTH: Final = {"bytes": 64, "smollm2": 32}
"""Tokens that a request generates, where it names no number."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model and the words that it knows.

    Attributes:
        model: The model, in float32.
        encode: Token ids of a text.
        decode: The text of token ids.
        prompt: A text to continue.
        text: A text that it was not trained on, to measure perplexity.
        size: How big it is, in words.
        context: Tokens that it was trained to see at once, or as many as its text needs.
        draft: A smaller model with the same words.
    """

    model: LlamaForCausalLM
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    prompt: str
    text: str
    size: str
    context: int
    draft: LlamaForCausalLM | None = None


def pretrained(name: str, attention: str) -> Pretrained:
    """The model of a name.

    Raises:
        MmprofError: Its weights are not installed.
        KeyError: There is no such model.
    """
    return _MODELS[name](attention)


def _bytes(attention: str) -> Pretrained:
    model = byte_llama.pretrained_byte_llama(attention)
    return Pretrained(
        model=model,
        encode=byte_llama.encode,
        decode=byte_llama.decode,
        prompt=CODE_PROMPT,
        text=CODE,
        size="2.6M",
        context=byte_llama.CONTEXT,
        draft=first_layers(model, byte_llama.EXIT_LAYER),
    )


def _smollm2(attention: str) -> Pretrained:
    file = smollm2.read_smollm2()
    tokenizer = smollm2.smollm2_tokenizer(file)
    return Pretrained(
        model=smollm2.pretrained_smollm2(file, attention),
        encode=lambda text: list(tokenizer.encode(text).ids),
        decode=tokenizer.decode,
        prompt=ENGLISH_PROMPT,
        text=ENGLISH,
        size="135M",
        context=512,
    )


_MODELS: Final[Mapping[str, Callable[[str], Pretrained]]] = {"bytes": _bytes, "smollm2": _smollm2}


def build(request: Request) -> Workload:
    """The workload of a request whose option `model` names a model with real weights.

    Raises:
        MmprofError: Its weights are not installed.
        ValueError: The sequence is too long for it.
    """
    name, options = str(request.options["model"]), request.options
    known = pretrained(name, request.attention)
    model = _placed(known.model, request)
    prompt = _prompt(known, request)
    lengths = Lengths(prompt.shape[1], request.output_length or OUTPUT_LENGTH[name])
    lengths.require(positions=model.config.max_position_embeddings)
    writer = _Writer(known, greedy_generation(model, prompt, lengths.outputs), lengths.inputs)
    budget = float(options["perplexity_budget"])
    return Workload(
        name="llama",
        models={"": model},
        run=writer,
        arguments=_arguments(known, request, lengths),
        kv_cache_bytes=_kv_cache_bytes(model, request, lengths),
        steps=lengths.outputs - 1,
        draft=None if known.draft is None else _placed(known.draft, request),
        quality=Quality("perplexity", lambda: _perplexity(model, known), budget),
        facts=lambda: {"text": writer.text},
    )


def _placed(model: LlamaForCausalLM, request: Request) -> LlamaForCausalLM:
    module: nn.Module = model
    return cast("LlamaForCausalLM", module.to(request.device, torch_dtype(request)))


def _perplexity(model: LlamaForCausalLM, known: Pretrained) -> float:
    return perplexity(model, known.encode(known.text), known.context)


def perplexity(model: Any, tokens: list[int], context: int) -> float:
    """The usual one: e to the mean loss, in nats, of each token given those before, in parts that the model can see.

    Args:
        model: A language model of transformers.
        tokens: Token ids.
        context: Tokens that the model sees at once; a last part that is shorter is left out.
    """
    whole = len(tokens) // context * context or len(tokens)
    ids = torch.tensor(tokens[:whole], device=model.device).view(-1, min(context, whole))
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return float(cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).exp())


@dataclass(slots=True)
class _Writer:
    """A request that remembers what it wrote."""

    known: Pretrained
    request: Callable[[], Tensor]
    prompt_length: int
    written: Tensor = field(default_factory=lambda: torch.empty((0, 0), dtype=torch.long))

    def __call__(self) -> Tensor:
        self.written = self.request()
        return self.written

    @property
    def text(self) -> str:
        """What the last request wrote behind the prompt, its first sequence."""
        return self.known.decode(self.written[0, self.prompt_length :].tolist())


def _prompt(known: Pretrained, request: Request) -> Tensor:
    """Token ids [batch, tokens] of the prompt, or of as many tokens of the text as are asked for."""
    asked = str(request.options["prompt"])
    tokens = known.encode(asked or known.prompt)
    if request.input_length and not asked:
        tokens = known.encode(known.text)[: request.input_length]
    return torch.tensor([tokens] * request.batch, device=request.device)


def _arguments(known: Pretrained, request: Request, lengths: Lengths) -> dict[str, Argument]:
    config = known.model.config
    return {
        "size": known.size,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "vocabulary": config.vocab_size,
        "prompt": str(request.options["prompt"]) or known.prompt,
        "input_length": lengths.inputs,
        "output_length": lengths.outputs,
        "seed": request.seed,
    }


def _kv_cache_bytes(model: LlamaForCausalLM, request: Request, lengths: Lengths) -> int:
    config: Any = model.config
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    positions = lengths.inputs + lengths.outputs - 1
    return int(per_token * request.batch * positions * torch_dtype(request).itemsize)
