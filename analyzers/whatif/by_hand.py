"""Levers that only the author of a model can pull: no tool knows what his code may leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.whatif.waits import without_held_copies, without_state, without_waits

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.prediction import Predicted
    from mmprof.analyzers.whatif.replay import Replay


# In the one public pair of traces of the same training without workers and with four (pytorch/kineto, resnet50_num_workers_0 and
# _4), the window became as long as the replay has it with 0.44 of the loader's time.
LOADER_LEFT: Final = 0.45


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of the user's own code; the attributes are those of a `Lever`."""

    id: str
    layer: str
    summary: str
    risk: str
    cost: str
    hurts: str
    predict: Callable[[Replay], Predicted]
    exactness: str = "identical"
    unseen: str = ""


def _loader(replay: Replay) -> Predicted:
    return without_state(replay, "dataloader", "the data loader's next batch", left=LOADER_LEFT)


def _buckets(replay: Replay) -> Predicted:
    return without_state(replay, "compile", "compilation for new shapes")


def _batch(replay: Replay) -> Predicted:  # noqa: ARG001  (the form that all have)
    """A workload is one request and a window is its time: what a batch gains, requests a second, is neither."""
    return None, (
        "it raises the requests a second, not the speed of one, which is what is predicted here; trace with --batch 8 as well, "
        "and compare the time for each request"
    )


def _streams(replay: Replay) -> Predicted:  # noqa: ARG001  (as above)
    """That one operator started before another ended would show independence; that it did not shows nothing."""
    return None, (
        "a trace of one stream does not show which work is independent; worth a look where two encoders or models read "
        "different inputs and neither fills the device"
    )


BY_HAND: Final = (
    Advice(
        id="sync_removal",
        layer="application",
        summary="The host does not wait for values of the device: no .item(), no branch on a tensor, a stop check every few steps",
        risk="medium",
        cost="work on the code that reads the values",
        hurts="a value that is read late is acted on late",
        predict=without_waits,
    ),
    Advice(
        id="dataloader_workers",
        layer="application",
        summary="More workers of the data loader, pinned memory, batches fetched ahead",
        risk="low",
        cost="processes and memory of the host",
        hurts="nothing, while cores are free",
        predict=_loader,
    ),
    Advice(
        id="pinned_memory",
        layer="application",
        summary="Copies from and to pinned host memory, with non_blocking=True, that the host does not wait for",
        risk="low",
        cost="host memory that cannot be swapped out",
        hurts="a result that is read before its copy is done is wrong: wait for an event first",
        predict=without_held_copies,
    ),
    Advice(
        id="shape_bucketing",
        layer="application",
        summary="Inputs padded to a few lengths: the same shapes come again, and nothing is compiled anew",
        risk="medium",
        cost="padding up to the next length; a mask for it",
        hurts="lengths that are all different: the padding costs more than the compilation",
        predict=_buckets,
        exactness="reassociation",
    ),
    Advice(
        id="batching",
        layer="application",
        summary="Several requests in one batch, by the author of the model's loop: the weights are read once for all",
        risk="low",
        cost="memory of a key-value cache for each request; requests wait for each other",
        hurts="the time of one request; where compute is the bound nothing is gained",
        predict=_batch,
        exactness="reassociation",
    ),
    Advice(
        id="stream_parallelism",
        layer="application",
        summary="Independent operators or encoders on streams of their own",
        risk="high",
        cost="events between the streams, and memory that no allocator may reuse too early",
        hurts="where launches are the bound: two streams are fed by one host",
        predict=_streams,
    ),
)
"""The levers that no tool can apply, those of findings among them."""
