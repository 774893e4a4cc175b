"""LayerSkip: the first layers guess tokens, all layers check them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.speculation.search import Plan
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a decoder-only model of transformers that generates, with layers to leave out."""
    from mmprof.tracer.speculation.loop import why_not_speculated  # noqa: PLC0415  (torch)

    return why_not_speculated(workload) or _why_no_exit(workload)


def _why_no_exit(workload: Workload) -> str:
    from mmprof.tracer.speculation.applying import generator_of  # noqa: PLC0415
    from mmprof.tracer.speculation.early_exit import stack_of  # noqa: PLC0415

    _, model = generator_of(workload)
    stack = stack_of(model)
    if stack is None:
        return f"{type(model).__name__} has no layers between an embedding and a norm"
    return "" if len(stack.layers) > 1 else "one layer: there is none to leave out"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Guess with as many layers, and as many tokens at once, as the model at hand is fastest with."""
    from mmprof.tracer.speculation.applying import searched  # noqa: PLC0415

    with searched(workload, search) as guessing:
        yield guessing


def search(workload: Workload, name: str) -> Plan:
    """The exit layer and the length of guesses that make a request fastest.

    Raises:
        NotApplicableError: The model generates several sequences at once, or not by `generate`.
    """
    from mmprof.tracer.speculation.search import fastest  # noqa: PLC0415

    return fastest(workload, name, plans(workload, name))


def plans(workload: Workload, name: str) -> list[Plan]:
    """All exit layers with all lengths, each with the seconds that one request without guesses lets expect."""
    from mmprof.tracer.speculation import search as found  # noqa: PLC0415
    from mmprof.tracer.speculation.applying import generator_of  # noqa: PLC0415
    from mmprof.tracer.speculation.early_exit import EarlyExit, stack_of  # noqa: PLC0415

    _, model = generator_of(workload)
    stack, request = stack_of(model), found.observed(workload, name)
    assert stack is not None
    costs = found.costs(model, stack, request.hidden[0])
    right = found.agreement(model, stack, request)
    return [
        found.Plan(
            EarlyExit(exit_layer, length),
            {"exit_layer": exit_layer, "layers": len(stack.layers), "draft_length": length},
            costs.seconds(exit_layer, len(stack.layers), found.drafts_of(agreeing, length)),
        )
        for exit_layer, agreeing in enumerate(right, start=1)
        for length in found.LENGTHS
    ]


def predict(replay: Replay) -> Predicted:  # noqa: ARG001  (the form that all levers have)
    """A trace does not show what a model's first layers would guess."""
    return None, "only a run shows how many drafts would be right: mmprof verify --lever layerskip"


LEVER: Final = Lever(
    id="layerskip",
    layer="algorithm",
    summary="The first layers draft tokens, all layers check several at once, on one key-value cache",
    exactness="reassociation",
    risk="high",
    cost="a search of some requests; weights that were trained for an early exit",
    hurts="weights that were not trained for it: drafts are wrong, and every one costs a pass of the first layers",
    applies=applies,
    apply=apply,
    predict=predict,
    after=("sdpa", "dtype"),  # what is searched for are the times of the model as it will run
    conflicts=("prompt_lookup", "assisted_decoding", "static_kv_cache", "torch_compile"),
)
