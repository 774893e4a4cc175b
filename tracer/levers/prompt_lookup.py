"""Prompt lookup: what followed the last tokens before is guessed to follow again."""

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
NGRAM: Final = 3


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a decoder-only model of transformers that generates."""
    from mmprof.tracer.speculation.loop import why_not_speculated  # noqa: PLC0415  (torch)

    return why_not_speculated(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Guess as many tokens at once as the model at hand is fastest with."""
    from mmprof.tracer.speculation.applying import searched  # noqa: PLC0415

    with searched(workload, search) as guessing:
        yield guessing


def search(workload: Workload, name: str) -> Plan:
    """The length of guesses that makes a request fastest."""
    from mmprof.tracer.speculation.drafts import Checked, PromptLookup  # noqa: PLC0415
    from mmprof.tracer.speculation.search import Plan, fastest  # noqa: PLC0415

    plans = [
        Plan(Checked(PromptLookup(length, NGRAM)), {"draft_length": length, "ngram": NGRAM})
        for length in LENGTHS
    ]
    return fastest(workload, name, plans)


def predict(replay: Replay) -> Predicted:  # noqa: ARG001  (the form that all levers have)
    """A trace does not show tokens."""
    return None, "only a run shows how many drafts would be right: mmprof verify -l prompt_lookup"


LEVER: Final = Lever(
    id="prompt_lookup",
    layer="algorithm",
    summary="Drafts what followed the last tokens earlier in the text; one pass checks several",
    exactness="reassociation",
    risk="medium",
    cost="a search of some requests",
    hurts="texts that do not repeat what they were given: checks of wrong drafts cost time",
    applies=applies,
    apply=apply,
    predict=predict,
    after=("sdpa", "dtype"),  # what is searched for are the times of the model as it will run
    conflicts=("layerskip", "assisted_decoding", "static_kv_cache", "torch_compile"),
)
