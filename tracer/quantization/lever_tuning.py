"""What the levers that tune linear layers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from torch import nn

from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_models import modules_of
from mmprof.tracer.quantization.dispatch import Dispatch, dispatching
from mmprof.tracer.quantization.recording import linear_layers, recorded
from mmprof.tracer.quantization.tuning import tuned

if TYPE_CHECKING:
    from mmprof.tracer.quantization.candidates import Candidate, Product
    from mmprof.tracer.quantization.recording import Site
    from mmprof.tracer.workload import Workload

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def why_nothing_to_tune(workload: Workload) -> str:
    """Why no layer can be tuned; empty where one can."""
    if linear_layers(workload):
        return ""
    if any(isinstance(module, _CONVOLUTIONS) for module in modules_of(workload)):
        return "only convolutions: no candidate multiplies them in another way"
    return "no plain linear layer"


@contextmanager
def tuning(
    workload: Workload, candidates: Sequence[Candidate], *, budget: float, lever: str
) -> Iterator[Workload]:
    """Measure candidates on a request, and multiply by the fastest.

    Args:
        workload: Whose linear layers are tuned.
        candidates: The most precise first.
        budget: Largest relative L2 error of a layer's output.
        lever: Who tunes.

    Yields:
        The workload, with the choices among its notes.

    Raises:
        NotApplicableError: No linear layer runs, or no candidate is faster.
    """
    recording = recorded(workload)
    if not recording.order:
        raise NotApplicableError(
            "no plain linear layer runs in a request, or compiled code hides it"
        )
    found = tuned(recording, candidates, budget=budget, lever=lever)
    if not found.products:
        raise NotApplicableError("no candidate is faster than a layer as it is, beyond noise")
    with dispatching(_dispatches(recording.layers, found.products)):
        yield replace(workload, notes=(*workload.notes, found.choices))


def _dispatches(
    layers: Mapping[str, nn.Linear], products: Mapping[Site, Product]
) -> dict[nn.Linear, Dispatch]:
    by_layer: dict[str, dict[int, Product]] = {}
    for site, product in products.items():
        by_layer.setdefault(site.layer, {})[site.rows] = product
    return {layers[path]: Dispatch(layers[path], own) for path, own in by_layer.items()}
