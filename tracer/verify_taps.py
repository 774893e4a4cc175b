"""Logits on their way from a model to the choice of a token: kept, or replaced by the baseline's.

Where the baseline's logits take the place of a lever's own, every later step sees the tokens that the baseline chose, so
that each step's logits are comparable: teacher forcing, for any loop, search or sampling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import torch

from mmprof.tracer.lever_models import (
    attribute,
    generators,
    output_head,
    transformers_models,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmprof.tracer.workload import Workload

Streams: TypeAlias = "Mapping[str, Sequence[Tensor]]"

SCORES: Final = "scores"
OF_REQUEST: Final = " of request "
"""In the name of a stream, between where logits pass and the request that they are of, where there are several."""
_PROCESSORS: Final = "_get_logits_processor"
_heads_heard: Final = ContextVar("_heads_heard", default=True)
_request: Final = ContextVar("_request", default="")


class Tap:
    """Keeps the logits of a request by where they pass.

    Args:
        forced: Logits of the baseline, which replace what passes; none to let everything pass.
    """

    def __init__(self, forced: Streams | None = None) -> None:
        self.streams: dict[str, list[Tensor]] = defaultdict(list)
        self._forced = forced or {}

    def __call__(self, name: str, logits: Tensor) -> Tensor:
        """Keep logits that pass at `name`; those that go on."""
        name += _request.get()
        seen = self.streams[name]
        forced = self._forced.get(name, ())
        seen.append(logits.detach().cpu().clone())
        at = len(seen) - 1
        if at >= len(forced) or forced[at].shape != logits.shape:
            return logits
        # A copy, because a model may mask logits in place; in its own precision, which has no ties.
        return forced[at].to(logits.device, copy=True)


@contextmanager
def tapped(workload: Workload, tap: Tap) -> Iterator[None]:
    """Let the logits of a workload pass a tap: behind output heads, and in front of transformers' choice of a token.

    A compiled step has no heads to stand behind, a loop of one's own does not ask transformers: together they see every
    family.
    """
    with ExitStack() as opened:
        for name, head in _heads(workload).items():
            handle = head.register_forward_hook(_behind(tap, name))
            opened.callback(handle.remove)
        for model in generators(workload):
            patched = _in_front(tap, getattr(model, _PROCESSORS))
            opened.enter_context(attribute(model, _PROCESSORS, patched))
        yield


@contextmanager
def heads_unheard() -> Iterator[None]:
    """For a loop whose heads make more logits than it has steps: only those in front of the choice of a token count."""
    before = _heads_heard.set(False)
    try:
        yield
    finally:
        _heads_heard.reset(before)


@contextmanager
def of_request(number: int) -> Iterator[None]:
    """For one of several requests: its logits are compared with its own, in whatever order the requests take turns."""
    before = _request.set(f"{OF_REQUEST}{number}")
    try:
        yield
    finally:
        _request.reset(before)


def _heads(workload: Workload) -> dict[str, nn.Module]:
    """Output heads by the path of the model that has them."""
    found: dict[str, nn.Module] = {}
    for model in transformers_models(workload):
        for path, module in model.named_modules():
            head = output_head(module)
            if head is not None and not any(head is known for known in found.values()):
                found[f"head of {path or type(model).__name__}"] = head
    return found


def _behind(tap: Tap, name: str) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
    def hook(_module: nn.Module, _args: Any, logits: Tensor) -> Tensor | None:
        # What is traced by a compiler must have no effect outside of the graph.
        if torch.compiler.is_compiling() or not _heads_heard.get():
            return None
        return tap(name, logits)

    return hook


def _in_front(tap: Tap, processors: Callable[..., list[object]]) -> Callable[..., list[object]]:
    def with_tap(*args: Any, **kwargs: Any) -> list[object]:
        found = processors(*args, **kwargs)
        found.insert(0, lambda _, scores: tap(SCORES, cast("Tensor", scores)))
        return found

    return with_tap
