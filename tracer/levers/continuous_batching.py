"""Several requests decoded together, each in a slot that the next one takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever
from mmprof.tracer.scheduling import CANNOT_STAND_BESIDE

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs several requests of greedy decoding, and a decoder-only model of transformers."""
    from mmprof.tracer.scheduling.serving import why_not_scheduled  # noqa: PLC0415  (torch: seconds)

    return why_not_scheduled(workload)


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Serve the queue in slots of one static key-value cache."""
    from mmprof.analyzers.whatif.batches import SLOTS  # noqa: PLC0415  (polars: 100 ms)
    from mmprof.tracer.scheduling.serving import scheduled  # noqa: PLC0415
    from mmprof.tracer.scheduling.slots import Continuous  # noqa: PLC0415

    with scheduled(workload, Continuous(SLOTS), {"slots": SLOTS}) as serving:
        yield serving


def predict(replay: Replay) -> Predicted:
    """Decode steps of several requests become one; prefills stay."""
    from mmprof.analyzers.whatif.batches import in_slots  # noqa: PLC0415

    return in_slots(replay)


LEVER: Final = Lever(
    id="continuous_batching",
    layer="application",
    summary="Waiting requests are decoded together; when one is done, the next takes its slot of the key-value cache",
    exactness="reassociation",
    risk="medium",
    cost="a key-value cache of the longest request for every slot, from the first token on",
    hurts="a long prompt that enters holds up all others; prompts are read one by one and gain nothing; each token takes longer "
    "than alone, and where compute is the bound all of them together do",
    applies=applies,
    apply=apply,
    predict=predict,
    conflicts=tuple(other for other in CANNOT_STAND_BESIDE if other != "continuous_batching"),
)
