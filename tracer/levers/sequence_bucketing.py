"""Several requests of about equal lengths in one padded batch."""

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
    """Serve the queue in batches of about equal lengths, padded on the left."""
    from mmprof.analyzers.whatif.batches import PADDING, SLOTS  # noqa: PLC0415  (polars: 100 ms)
    from mmprof.tracer.scheduling.buckets import Bucketing  # noqa: PLC0415
    from mmprof.tracer.scheduling.serving import scheduled  # noqa: PLC0415

    with scheduled(workload, Bucketing(SLOTS, PADDING), {"batch": SLOTS}) as serving:
        yield serving


def predict(replay: Replay) -> Predicted:
    """Prefills and decode steps of a bucket become one."""
    from mmprof.analyzers.whatif.batches import in_buckets  # noqa: PLC0415

    return in_buckets(replay)


LEVER: Final = Lever(
    id="sequence_bucketing",
    layer="application",
    summary="Waiting requests of about equal lengths are one batch, padded on the left to the longest of them",
    exactness="reassociation",
    risk="low",
    cost="a key-value cache for every request of a batch, padding included",
    hurts="an answer is ready when the longest of its batch is; padding is computed, which lengths far apart pay for; where "
    "compute is the bound, as in reading long prompts, a batch takes as long as its requests one by one",
    applies=applies,
    apply=apply,
    predict=predict,
    conflicts=tuple(other for other in CANNOT_STAND_BESIDE if other != "sequence_bucketing"),
)
