"""Beam search without moving the cross-attention cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_REORDER: Final = "_reorder_cache"


class BeamCache(Protocol):
    """A cache whose rows are beams."""

    def reorder_cache(self, beam_idx: Tensor) -> object:
        """Make row i a copy of row `beam_idx[i]`."""


class PairedCache(Protocol):
    """The cache of an encoder-decoder model: one that grows, and one that all beams of a sample share."""

    self_attention_cache: BeamCache


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs beam search in an encoder-decoder model."""
    return "" if _searching(workload) else "no beam search in an encoder-decoder model"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Reorder the self-attention cache only."""
    from mmprof.tracer.lever_models import attribute, requiring  # noqa: PLC0415

    reorders: list[object] = []
    with ExitStack() as patched:
        for model in _searching(workload):
            patched.enter_context(attribute(model, _REORDER, _reorder(reorders)))
        yield requiring(workload, reorders, "no cache is reordered")


def _reorder(reorders: list[object]) -> Callable[[PairedCache, Tensor], PairedCache]:
    """What transformers' beam search calls in the place of `cache.reorder_cache`.

    A beam only ever continues a beam of the same sample, and all of these attend to the same encoder output.
    """

    def reorder(cache: PairedCache, beam_idx: Tensor) -> PairedCache:
        cache.self_attention_cache.reorder_cache(beam_idx)
        reorders.append(True)
        return cache

    return reorder


def _searching(workload: Workload) -> list[PreTrainedModel]:
    from mmprof.tracer.lever_models import beams_of, generators  # noqa: PLC0415

    return [
        model
        for model in generators(workload)
        if beams_of(model) > 1 and getattr(model.config, "is_encoder_decoder", False)
    ]


def predict(replay: Replay) -> Predicted:
    """The copies of what beams share vanish."""
    from mmprof.analyzers.whatif.caches import shared_by_beams  # noqa: PLC0415  (polars: 100 ms)

    return shared_by_beams(replay)


LEVER: Final = Lever(
    id="cache_reorder",
    layer="application",
    summary="Beam search reorders only what beams do not share: not the cross-attention cache",
    exactness="identical",
    risk="low",
    cost="none",
    hurts="nothing",
    applies=applies,
    apply=apply,
    predict=predict,
)
