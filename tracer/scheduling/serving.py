"""What every schedule needs: forward calls of several requests, and the choice of the next token of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

import torch
from transformers import GenerationConfig

from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_models import attribute, beams_of, generators, requiring
from mmprof.tracer.phases import PhaseSequence
from mmprof.tracer.verify_taps import heads_unheard, of_request

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from mmprof.tracer.workload import Argument, GreedyRequest, Queue, Workload

ARGUMENTS: Final = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep")
"""What a forward call must take, so that several requests can share it."""

ATTENTIONS: Final = ("eager", "sdpa")
"""Forms of attention that take a mask of four dimensions."""

Processor: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
_generation_config = cast("Callable[..., GenerationConfig]", GenerationConfig)


class Schedule(Protocol):
    """Decodes all requests of a serving."""

    def __call__(self, serving: Serving) -> None:
        """Make forward calls until each request has its tokens."""


class Serving:
    """All requests of a queue while they are decoded.

    Args:
        model: A decoder-only model of transformers.
        requests: The requests.

    Attributes:
        requests: The requests.
        device: Where the model is.
        calls: Forward calls so far.
        rows: Requests in all of them together.
        phases: Phases of the trace.
    """

    def __init__(self, model: PreTrainedModel, requests: Sequence[GreedyRequest]) -> None:
        self.requests = requests
        self.device = requests[0].prompt.device
        self.calls = self.rows = 0
        self.phases = PhaseSequence()
        self._model: Any = model
        self._chosen: list[list[Tensor]] = [[] for _ in requests]
        self._processors = [_processors(self._model, each) for each in requests]

    @property
    def config(self) -> Any:
        """The configuration of the model."""
        return self._model.config

    @property
    def dtype(self) -> torch.dtype:
        """In which the model computes."""
        return cast("torch.dtype", self._model.dtype)

    def left(self, number: int) -> int:
        """Tokens that a request still waits for."""
        return self.requests[number].new_tokens - len(self._chosen[number])

    def forward(self, ids: Tensor, **inputs: object) -> Tensor:
        """Logits [rows, vocabulary] behind the last of token ids [rows, tokens]."""
        self.calls += 1
        self.rows += ids.shape[0]
        made = self._model(input_ids=ids, use_cache=True, logits_to_keep=1, **inputs)
        return cast("Tensor", made.logits[:, -1])

    def choose(self, numbers: Sequence[int], logits: Tensor) -> Tensor:
        """The next token of each request, [rows]; kept where the request still waits for one.

        Args:
            numbers: The requests, by row.
            logits: Behind the last token of each, [rows, vocabulary].
        """
        if any(self._processors[number] for number in numbers if self.left(number)):
            logits = torch.cat([self._processed(n, logits[r, None]) for r, n in enumerate(numbers)])
        tokens = logits.argmax(-1)
        for number, token in zip(numbers, tokens[:, None], strict=True):
            if self.left(number):
                self._chosen[number].append(token)
        return tokens

    def outputs(self) -> tuple[Tensor, ...]:
        """Token ids [1, tokens] of each request, its prompt in front."""
        return tuple(map(self._ids, range(len(self.requests))))

    def _processed(self, number: int, scores: Tensor) -> Tensor:
        scores = scores.float()
        if not self.left(number):
            return scores
        with of_request(number):
            for process in self._processors[number]:
                scores = process(self._ids(number), scores)
        return scores

    def _ids(self, number: int) -> Tensor:
        return torch.cat(
            [self.requests[number].prompt, *(t[None] for t in self._chosen[number])], 1
        )


def _processors(model: Any, request: GreedyRequest) -> Sequence[Processor]:
    """What transformers does to the logits of a request before it takes the largest."""
    options = _generation_config(
        max_new_tokens=request.new_tokens, do_sample=False, eos_token_id=None
    )
    config, _ = model._prepare_generation_config(options)  # noqa: SLF001  (as transformers' own generate does)
    found = model._get_logits_processor(  # noqa: SLF001  (as above)
        config,
        input_ids_seq_length=request.prompt.shape[1],
        encoder_input_ids=request.prompt,
        device=request.prompt.device,
        model_kwargs={},
    )
    return cast("Sequence[Processor]", found)


def why_not_scheduled(workload: Workload) -> str:
    """Why the requests of a workload cannot share forward calls; empty where they can."""
    if workload.queue is None or len(workload.queue.requests) < 2:
        return (
            "a run is one request, which shares nothing: --set requests=8 makes llama serve several"
        )
    found = generators(workload)
    if not found:
        return "no model of transformers that generates"
    return _why_not(found[0])


def _why_not(model: PreTrainedModel) -> str:
    name, config = type(model).__name__, cast("Any", model.config)
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} is no decoder-only model"
    if beams_of(model) > 1:
        return (
            f"beam search ({beams_of(model)} beams): requests share a step, beams share a request"
        )
    if cast("Any", model).generation_config.do_sample:
        return f"{name} samples by its generation config: which random number is whose depends on the schedule"
    if getattr(model, "_is_stateful", False) or getattr(config, "sliding_window", None):
        return f"{name} keeps another state than one key and value for each token"
    if config._attn_implementation not in ATTENTIONS:  # noqa: SLF001  (transformers has no public name)
        return f"attention {config._attn_implementation} takes no mask for each request"  # noqa: SLF001
    takes = inspect.signature(model.forward).parameters
    missing = [each for each in ARGUMENTS if each not in takes]
    return f"{name}.forward takes no {missing[0]}: an unknown type of model" if missing else ""


@contextmanager
def scheduled(
    workload: Workload, schedule: Schedule, settings: Mapping[str, Argument]
) -> Iterator[Workload]:
    """Let a schedule serve the queue of a workload.

    Args:
        workload: With a queue.
        schedule: Serves it.
        settings: What is worth telling about it.

    Yields:
        The workload, which tells what the last run took; its run raises `NotApplicableError` where it never serves the queue.

    Raises:
        NotApplicableError: Another schedule serves it.
    """
    queue, model = cast("Queue", workload.queue), generators(workload)[0]
    if isinstance(queue.serve, _Scheduled):
        raise NotApplicableError("another lever schedules the requests already")
    runs: list[object] = []
    serve = _Scheduled(model, queue.requests, schedule, runs)
    told = replace(
        workload,
        facts=lambda: {**workload.facts(), **settings, **(_told(serve.last) if serve.last else {})},
    )
    with attribute(queue, "serve", serve):
        yield requiring(told, runs, "its run does not serve its queue")


@dataclass
class _Scheduled:
    """Serves requests by a schedule, and leaves a sign of it in `runs`."""

    model: PreTrainedModel
    requests: Sequence[GreedyRequest]
    schedule: Schedule
    runs: list[object]
    last: Serving | None = None

    def __call__(self) -> tuple[Tensor, ...]:
        self.runs.append(self)
        with torch.inference_mode(), heads_unheard():
            self.last = serving = Serving(self.model, self.requests)
            with serving.phases:
                self.schedule(serving)
            return serving.outputs()


def _told(serving: Serving) -> Mapping[str, Argument]:
    alone = sum(each.new_tokens for each in serving.requests)
    return {
        "forward_calls": serving.calls,
        "forward_calls_alone": alone,
        "requests_per_call": round(serving.rows / serving.calls, 2),
    }
