"""What the levers that guess tokens have in common: a plan is searched for each model, and applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever_models import generators
from mmprof.tracer.models.generation import has_random_weights
from mmprof.tracer.speculation.loop import Tally, speculating

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mmprof.tracer.speculation.search import Plan
    from mmprof.tracer.workload import Workload

_SYNTHETIC: Final = {"weights": "random, so that the acceptance is synthetic"}


@contextmanager
def searched(workload: Workload, search: Callable[[Workload, str], Plan]) -> Iterator[Workload]:
    """Let the model of a workload that generates guess.

    Args:
        workload: With one such model.
        search: Finds how, for the model's name.
    """
    name, model = generator_of(workload)
    plan = search(workload, name)
    random = _SYNTHETIC if has_random_weights(model) else {}
    with speculating(
        workload, {name: plan.speculator}, Tally(settings={**plan.settings, **random})
    ) as guessing:
        yield guessing


def generator_of(workload: Workload) -> tuple[str, PreTrainedModel]:
    """The first model of a workload that generates, and its name."""
    model = generators(workload)[0]
    name = next(name for name, known in workload.models.items() if known is model)
    return name, model
