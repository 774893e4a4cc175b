"""The loop: it takes the place of transformers' own inside `generate`, on the same key-value cache.

Every token that it keeps passes transformers' logits processors and stopping criteria one by one, as it would without
drafts: a draft changes when a token is computed, never which one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, cast

import torch

from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_models import attribute, beams_of, generators, requiring
from mmprof.tracer.verify_taps import heads_unheard

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from mmprof.tracer.models.generation import Generator
    from mmprof.tracer.workload import Argument, Workload

Inputs: TypeAlias = "dict[str, Any]"
_CACHE: Final = "past_key_values"
_UNSUPPORTED: Final = ("do_sample", "return_dict_in_generate")


class Step(NamedTuple):
    """Where a generation stands.

    Attributes:
        model: What generates.
        ids: Tokens so far, [1, tokens]; the last is not in the cache yet.
        inputs: Arguments of the forward call that reads the last token, as transformers prepares them.
        room: Most tokens that may be guessed: the request ends one token later.
    """

    model: PreTrainedModel
    ids: Tensor
    inputs: Inputs
    room: int

    @property
    def cache(self) -> Any:
        """The key-value cache of all layers."""
        return self.inputs[_CACHE]


class Guess(NamedTuple):
    """Guessed tokens and what the whole model says to them.

    Attributes:
        tokens: Token ids, [guessed].
        logits: Behind the last token and behind each guessed one, [1, guessed + 1, vocabulary].
    """

    tokens: Tensor
    logits: Tensor


class Speculator(Protocol):
    """Guesses the next tokens and lets the whole model judge them; may leave rejected tokens in the cache."""

    def __call__(self, step: Step) -> Guess:
        """The next tokens, perhaps none."""


@dataclass(slots=True)
class Tally:
    """What the last request took.

    Attributes:
        tokens: Tokens that were generated behind the first, which prefill yields.
        passes: Passes of the whole model that yielded them.
        drafted: Tokens that were guessed.
        accepted: Guessed tokens that were right.
        settings: How was guessed.
    """

    tokens: int = 0
    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    settings: dict[str, Argument] = field(default_factory=dict)

    @property
    def acceptance(self) -> float:
        """Share of the guessed tokens that were right; 0 where none was guessed."""
        return self.accepted / self.drafted if self.drafted else 0.0

    def facts(self) -> Mapping[str, Argument]:
        """What is worth telling about it."""
        return {
            **self.settings,
            "acceptance": round(self.acceptance, 4),
            "drafted_tokens": self.drafted,
            "full_passes": self.passes,
            "decode_steps": self.tokens,
        }


def why_not_speculated(workload: Workload) -> str:
    """Why no model of a workload can decode with drafts; empty where one can."""
    found = generators(workload)
    if not found:
        return "no model of transformers that generates"
    return next((reason for reason in map(_why_not, found) if reason), "")


def _why_not(model: PreTrainedModel) -> str:
    if getattr(model.config, "is_encoder_decoder", False):
        return f"{type(model).__name__} is no decoder-only model"
    if beams_of(model) > 1:
        return f"beam search ({beams_of(model)} beams) has no single next token to guess"
    if getattr(model, "_is_stateful", False):
        return f"{type(model).__name__} keeps a state that cannot forget rejected tokens"
    return ""


@contextmanager
def speculating(
    workload: Workload, speculators: Mapping[str, Speculator], tally: Tally
) -> Iterator[Workload]:
    """Let models generate by this loop.

    Args:
        workload: Whose models generate.
        speculators: What guesses, by the model's name in the workload.
        tally: Told what each request took.

    Yields:
        The workload, which tells the tally's facts.
    """
    runs: list[object] = []
    with ExitStack() as patches:
        for name, speculator in speculators.items():
            model = cast("PreTrainedModel", workload.models[name])
            method = _decoding(speculator, tally, runs)
            generate = partial(cast("Generator", model).generate, custom_generate=method)
            patches.enter_context(attribute(model, "generate", generate))
        told = replace(workload, facts=lambda: {**workload.facts(), **tally.facts()})
        yield requiring(told, runs, "its loop is not transformers' generate")


def _decoding(speculator: Speculator, tally: Tally, runs: list[object]) -> Callable[..., Tensor]:
    """What transformers calls in the place of its own decoding method."""

    def decode(
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: Callable[..., Tensor],
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Tensor:
        check_supported(input_ids, generation_config, model_kwargs)
        runs.append(input_ids)
        rules = Rules(logits_processor, stopping_criteria, generation_config)
        with heads_unheard():
            return _Generation(model, rules, model_kwargs, tally).generated(input_ids, speculator)

    return decode


def check_supported(ids: Tensor, config: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse what the loop cannot do.

    Raises:
        NotApplicableError: Several sequences, sampling, or a cache that cannot forget.
    """
    if ids.shape[0] != 1:
        raise NotApplicableError(f"{ids.shape[0]} sequences: drafts are accepted for one alone")
    asked = [name for name in _UNSUPPORTED if getattr(config, name, None)]
    if asked:
        raise NotApplicableError(f"{asked[0]} is asked of generate, drafts are for greedy tokens")
    layers = getattr(kwargs.get(_CACHE), "layers", None)
    if layers is None or not all(type(layer).__name__ == "DynamicLayer" for layer in layers):
        raise NotApplicableError("the key-value cache cannot forget rejected tokens")


class Rules(NamedTuple):
    """How a token is chosen, and when it is the last.

    Attributes:
        process: Logits processors.
        stop: Stopping criteria.
        config: Generation config.
    """

    process: Callable[..., Tensor]
    stop: Any
    config: Any


@dataclass(slots=True)
class _Generation:
    """One request."""

    model: PreTrainedModel
    rules: Rules
    kwargs: Inputs
    tally: Tally

    def generated(self, ids: Tensor, speculator: Speculator) -> Tensor:
        """The prompt and what follows it, [1, tokens]."""
        model: Any = self.model
        prefill = model._prefill(ids, self.rules.config, self.kwargs)  # noqa: SLF001  (as transformers' own loops do)
        self.kwargs[_CACHE] = prefill[_CACHE]
        first = Guess(ids.new_empty(0), prefill.logits[:, -1:])
        self.tally.tokens = self.tally.passes = self.tally.drafted = self.tally.accepted = 0
        ids, finished = self._kept(ids, first)
        while not finished:
            guess = speculator(self._step(ids))
            longer, finished = self._kept(ids, guess)
            self._count(guess, longer.shape[1] - ids.shape[1])
            ids = longer
        return ids

    def _step(self, ids: Tensor) -> Step:
        model: Any = self.model
        inputs = model.prepare_inputs_for_generation(ids, next_sequence_length=1, **self.kwargs)
        inputs.setdefault("position_ids", ids.new_tensor([[ids.shape[1] - 1]]))
        return Step(self.model, ids, inputs, self.rules.stop.max_length - ids.shape[1] - 1)

    def _kept(self, ids: Tensor, guess: Guess) -> tuple[Tensor, bool]:
        """The tokens with those that are right; whether the request ends."""
        known, finished = ids.shape[1], False
        for at in range(len(guess.tokens) + 1):
            scores = self.rules.process(ids, guess.logits[:, at].float().clone())
            token = scores.argmax(-1, keepdim=True)
            ids = torch.cat([ids, token], dim=1)
            finished = bool(self.rules.stop(ids, scores))
            if finished or at == len(guess.tokens) or token != guess.tokens[at]:
                break
        self._forget(ids.shape[1] - 1)
        self.kwargs = cast("Any", self.model)._update_model_kwargs_for_generation(  # noqa: SLF001  (as above)
            {}, self.kwargs, num_new_tokens=ids.shape[1] - known
        )
        return ids, finished

    def _forget(self, length: int) -> None:
        """Leave so many tokens in the cache: all but the last, which is read next."""
        for layer in self.kwargs[_CACHE].layers:
            layer.crop(min(0, length - layer.get_seq_length()))

    def _count(self, guess: Guess, kept: int) -> None:
        self.tally.passes += 1
        self.tally.tokens += kept
        self.tally.drafted += len(guess.tokens)
        self.tally.accepted += kept - 1


def following(inputs: Inputs, tokens: Tensor) -> Inputs:
    """Arguments of the forward call that reads further tokens, [1, tokens], behind those of another one."""
    positions, mask = inputs["position_ids"], inputs.get("attention_mask")
    behind = torch.arange(1, tokens.shape[1] + 1, device=positions.device)
    changed: Inputs = {"input_ids": tokens, "position_ids": positions[..., -1:] + behind}
    if mask is not None:
        changed["attention_mask"] = torch.cat([mask, torch.ones_like(tokens)], dim=1)
    return {**inputs, **changed}


def lengthened(inputs: Inputs, tokens: Tensor) -> Inputs:
    """Arguments of the forward call that reads further tokens, [1, tokens], with its own."""
    further = following(inputs, tokens)
    joined = {
        name: torch.cat([inputs[name], further[name]], dim=-1)
        for name in ("input_ids", "position_ids")
    }
    return {**further, **joined}
