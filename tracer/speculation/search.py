"""How to guess is found on the model at hand: from one request without guesses, then from the time of a few with them.

What a model's first layers would guess depends on the tokens before alone, and guesses that are kept are the tokens
themselves. So one greedy request shows which guesses would be right, for every exit layer and every length at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import torch

from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_models import attribute
from mmprof.tracer.speculation.early_exit import stack_of, using
from mmprof.tracer.speculation.loop import Tally, speculating
from mmprof.tracer.timing import timed

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from mmprof.tracer.speculation.early_exit import Stack
    from mmprof.tracer.speculation.loop import Speculator
    from mmprof.tracer.workload import Argument, Workload

LENGTHS: Final = (1, 2, 3, 4, 6, 8)
"""Lengths of guesses that are tried."""

TIMED: Final = 3
"""Plans whose requests are timed, those first that promise most."""

_REPEATS: Final = 3


class Plan(NamedTuple):
    """A way to guess.

    Attributes:
        speculator: What guesses.
        settings: Its settings, for the report.
        seconds: What a request would take, as far as it is known.
    """

    speculator: Speculator
    settings: dict[str, Argument]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """What one greedy request showed.

    Attributes:
        ids: Token ids, [tokens]: the prompt and what followed.
        hidden: Hidden states [1, steps, width] behind each layer, of the last token that each step read.
    """

    ids: Tensor
    hidden: list[Tensor]


def observed(workload: Workload, name: str) -> Request:
    """Run a request and watch a model.

    Raises:
        NotApplicableError: It does not generate, or several sequences at once.
    """
    model = cast("PreTrainedModel", workload.models[name])
    made: list[Tensor] = []
    with torch.inference_mode(), _noting_output(model, made), _noting_layers(model) as states:
        workload.run()
    if not made:
        raise NotApplicableError("its loop is not transformers' generate")
    if made[-1].shape[0] != 1:
        raise NotApplicableError(
            f"{made[-1].shape[0]} sequences: drafts are accepted for one alone"
        )
    return Request(made[-1][0], [torch.cat(of_layer, dim=1) for of_layer in states])


@contextmanager
def _noting_output(model: PreTrainedModel, made: list[Tensor]) -> Iterator[None]:
    generate = cast("Callable[..., Tensor]", model.generate)

    def noted(*args: Any, **kwargs: Any) -> Tensor:
        made.append(generate(*args, **kwargs))
        return made[-1]

    with attribute(model, "generate", noted):
        yield


@contextmanager
def _noting_layers(model: PreTrainedModel) -> Iterator[list[list[Tensor]]]:
    """The hidden states behind each layer, of the last token of each call."""
    stack = stack_of(model)
    layers = list(stack.layers) if stack else []
    states: list[list[Tensor]] = [[] for _ in layers]
    with ExitStack() as hooks:
        for layer, of_layer in zip(layers, states, strict=True):
            handle = layer.register_forward_hook(_noting(of_layer))
            hooks.callback(handle.remove)
        yield states


def _noting(states: list[Tensor]) -> Callable[..., None]:
    def hook(_module: object, _args: object, output: Any) -> None:
        states.append((output[0] if isinstance(output, tuple) else output)[:, -1:])

    return hook


def agreement(model: PreTrainedModel, stack: Stack, request: Request) -> list[list[bool]]:
    """For each number of layers from 1 to all but one: of which generated tokens it would have guessed the next one."""
    with torch.inference_mode(), using(stack, []):
        choices = [_choices(model, states) for states in request.hidden]
    # the first step is prefill, whose token nothing guesses
    return [(early == choices[-1])[1:].tolist() for early in choices[:-1]]


def _choices(model: Any, hidden: Tensor) -> Tensor:
    """The likeliest tokens [steps] behind hidden states [1, steps, width]."""
    return cast("Tensor", model(inputs_embeds=hidden, use_cache=False).logits[0].argmax(-1))


def drafts_of(right: Sequence[bool], length: int) -> list[int]:
    """Tokens that each pass of the whole model would check, for guesses of a length.

    Args:
        right: Of which tokens, in their order, the next one would be guessed.
        length: Most tokens to guess.
    """
    drafts, at = [], 0
    while at < len(right):
        guessed = min(length, len(right) - at - 1)
        kept = next((n for n in range(guessed) if not right[at + n]), guessed)
        drafts.append(guessed)
        at += kept + 1
    return drafts


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of passes of a model.

    Attributes:
        fixed: Of a pass without layers, by the tokens that it reads.
        layer: Of a layer, by the tokens that it reads.
    """

    fixed: Mapping[int, float]
    layer: Mapping[int, float]

    def seconds(self, exit_layer: int, layers: int, drafts: Sequence[int]) -> float:
        """Seconds of a request whose passes check so many guesses of the first layers each."""
        early = self.fixed[1] + exit_layer * self.layer[1]
        deep = layers - exit_layer
        # the last guess is read by the first layers as well
        return sum((n + 1) * early + self.fixed[n + 1] + deep * self.layer[n + 1] for n in drafts)


def costs(model: PreTrainedModel, stack: Stack, like: Tensor) -> Costs:
    """Time passes of a model.

    Args:
        model: The model.
        stack: Its stack.
        like: Hidden states [1, steps, width], for their kind.
    """
    fixed: dict[int, float] = {}
    layer: dict[int, float] = {}
    for tokens in range(1, max(LENGTHS) + 2):
        states = like[:, :1].expand(-1, tokens, -1)
        fixed[tokens] = _pass_s(model, stack, [], states)
        layer[tokens] = _pass_s(model, stack, stack.layers, states) - fixed[tokens]
    return Costs(fixed, {n: max(0.0, s) / len(stack.layers) for n, s in layer.items()})


def _pass_s(model: Any, stack: Stack, layers: Sequence[Any], states: Tensor) -> float:
    def run() -> object:
        return model(inputs_embeds=states, use_cache=False)

    with torch.inference_mode(), using(stack, layers):
        return min(_seconds(run, states.device) for _ in range(_REPEATS))


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a run: CPU time of one thread, which other work on the machine disturbs least, or wall time."""
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return timed(run, str(device))
    start = time.process_time()
    run()
    return time.process_time() - start


def fastest(workload: Workload, name: str, plans: Sequence[Plan]) -> Plan:
    """The plan whose requests are fastest, of those that promise most.

    Args:
        workload: The workload.
        name: Its model that generates.
        plans: At least one.
    """
    promising = sorted(plans, key=lambda plan: plan.seconds)[:TIMED]
    return min(promising, key=lambda plan: _request_s(workload, name, plan))


def _request_s(workload: Workload, name: str, plan: Plan) -> float:
    device = next(workload.models[name].parameters()).device
    with speculating(workload, {name: plan.speculator}, Tally()) as guessing:
        return min(_seconds(guessing.run, device) for _ in range(2))
