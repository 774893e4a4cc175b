"""One greedy decode of a small Code Llama twice: launched kernel by kernel, and replayed as a CUDA graph.

    mmprof trace benchmarks.gpu.graph_twins:eager -o eager.json.gz
    mmprof trace benchmarks.gpu.graph_twins:graph -o graph.json.gz
    mmprof analyze graph.json.gz --twin eager.json.gz

Both run the same code on the same static cache, so that each kernel of a replay has a counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import StaticCache

from mmprof.tracer.devices import AUTO, resolve_device
from mmprof.tracer.families import request_for
from mmprof.tracer.models.generation import random_model, random_tokens
from mmprof.tracer.models.llama import SHAPES, make_model
from mmprof.tracer.order import Wish
from mmprof.tracer.phases import PhaseSequence
from mmprof.tracer.workload import Workload
from mmprof.tracer.workloads.llama import FAMILY

PROMPT: Final = 64
STEPS: Final = 32
_WARMUPS: Final = 3

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Decoder:
    """A model with its static cache, and the token that goes in next.

    Attributes:
        model: A causal language model.
        prompt: Token ids, [1, tokens].
        cache: Keys and values of prompt and steps, at fixed addresses.
        token: The next token's id, [1, 1], at a fixed address.
    """

    model: Any
    prompt: torch.Tensor
    cache: Any
    token: torch.Tensor

    def prefill(self) -> None:
        """Empty the cache and fill it with the prompt."""
        self.cache.reset()
        self._forward(self.prompt)

    def step(self) -> None:
        """Take one token and leave the next; the host reads nothing."""
        self._forward(self.token)

    def _forward(self, tokens: torch.Tensor) -> None:
        made = self.model(tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.token.copy_(made.logits.argmax(-1))

    def generate(self, step: Step) -> torch.Tensor:
        """All tokens of a request, [steps]."""
        made = []
        with torch.inference_mode(), PhaseSequence() as phases:
            phases.enter("prefill")
            self.prefill()
            for number in range(STEPS):
                phases.enter("decode", number)
                step()
                made.append(self.token.clone())
        return torch.cat(made).flatten()


def eager(device: str = AUTO, size: str = "small") -> Workload:
    """The decode whose steps are launched kernel by kernel."""
    decoder = make_decoder(device, size)
    return _workload(decoder, decoder.step, size)


def graph(size: str = "small") -> Workload:
    """The decode whose steps are replays of a CUDA graph."""
    decoder = make_decoder("cuda", size)
    return _workload(decoder, captured(decoder).replay, size)


def make_decoder(device: str, size: str) -> Decoder:
    """A decoder with random weights; float32 where it runs on a CPU."""
    where = resolve_device(device)
    dtype = "float32" if where == "cpu" else "bfloat16"
    request = request_for(FAMILY, Wish(size=size, dtype=dtype, attention="sdpa"), where)
    model = random_model(lambda: make_model(SHAPES[size, "7B"], request.attention), request)
    prompt = random_tokens((1, PROMPT), request, low=0, high=SHAPES[size, "7B"].vocabulary)
    cache = StaticCache(config=model.config, max_cache_len=PROMPT + STEPS)
    return Decoder(model, prompt, cache, torch.zeros_like(prompt[:, :1]))


def captured(decoder: Decoder) -> torch.cuda.CUDAGraph:
    """One step as a graph: https://docs.pytorch.org/docs/stable/notes/cuda.html, whole-network capture."""
    found = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        decoder.prefill()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARMUPS):
                decoder.step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(found):
            decoder.step()
    return found


def _workload(decoder: Decoder, step: Step, size: str) -> Workload:
    return Workload(
        name="graph_twins",
        models={"": decoder.model},
        run=lambda: decoder.generate(step),
        arguments={"size": size, "input_length": PROMPT, "output_length": STEPS, "batch": 1},
        steps=STEPS,
    )
