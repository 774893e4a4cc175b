"""Levers that only the author of a model can pull: no tool knows what his code may leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.whatif.waits import without_state, without_waits

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


def _allocator(replay: Replay) -> Predicted:
    return without_state(replay, "allocator", "calls that allocate or free memory")


def _loader(replay: Replay) -> Predicted:
    return without_state(replay, "dataloader", "the data loader's next batch", left=LOADER_LEFT)


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
        id="allocator_settings",
        layer="system",
        summary="Memory is allocated before the loop: warm-up, expandable segments, buffers that are used again",
        risk="low",
        cost="memory that stays reserved",
        hurts="nothing",
        predict=_allocator,
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
)
"""The levers of findings that no tool can apply."""
