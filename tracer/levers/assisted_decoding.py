"""Assisted decoding: a smaller model guesses tokens, the model itself checks them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.speculation.search import Plan
    from mmprof.tracer.workload import Workload

LENGTHS: Final = (2, 4, 8)


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a decoder-only model of transformers that generates, and a smaller one."""
    from mmprof.tracer.speculation.loop import why_not_speculated  # noqa: PLC0415  (torch)

    if workload.draft is None:
        return "no smaller model is given: Workload(draft=...) names one"
    return why_not_speculated(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Guess as many tokens at once as both models are fastest with."""
    from mmprof.tracer.speculation.applying import searched  # noqa: PLC0415

    with searched(workload, search) as guessing:
        yield guessing


def search(workload: Workload, name: str) -> Plan:
    """The length of guesses that makes a request fastest."""
    from mmprof.tracer.speculation.drafts import Assistant, Checked  # noqa: PLC0415
    from mmprof.tracer.speculation.search import Plan, fastest  # noqa: PLC0415

    assert workload.draft is not None
    plans = [
        Plan(Checked(Assistant(workload.draft, length)), {"draft_length": length})
        for length in LENGTHS
    ]
    return fastest(workload, name, plans)


def predict(replay: Replay) -> Predicted:  # noqa: ARG001  (the form that all levers have)
    """A trace does not show what another model would guess."""
    return None, "only a run shows how many drafts would be right"


LEVER: Final = Lever(
    id="assisted_decoding",
    layer="algorithm",
    summary="A smaller model drafts tokens, the model checks several in one pass",
    exactness="reassociation",
    risk="medium",
    cost="the smaller model's memory and key-value cache; a search of some requests",
    hurts="a smaller model that is often wrong, or not much faster",
    applies=applies,
    apply=apply,
    predict=predict,
    after=("sdpa", "dtype"),  # what is searched for are the times of the model as it will run
    conflicts=("layerskip", "prompt_lookup", "static_kv_cache", "torch_compile"),
)
