"""One request to HSTU: random weights, random histories, one pass over them, one ranking of candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from mmprof.tracer.models.generation import random_model, torch_dtype
from mmprof.tracer.models.hstu import ActionRanker, History, HstuConfig, HstuEncoder
from mmprof.tracer.phases import PhaseSequence
from mmprof.tracer.workload import Request, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmprof.tracer.workload import Argument

_CONFIGS: Final = {
    "tiny": HstuConfig(
        layers=8,
        width=50,
        heads=2,
        query_width=25,
        value_width=25,
        items=3_953,
        max_length=256,
        length=200,
    ),
    "small": HstuConfig(
        layers=16,
        width=256,
        heads=8,
        query_width=32,
        value_width=32,
        items=131_263,
        max_length=1_024,
        length=500,
    ),
    "full": HstuConfig(
        layers=12,
        width=512,
        heads=4,
        query_width=128,
        value_width=128,
        items=1_000_000,
        max_length=8_192,
        length=4_814,
    ),
}
"""Where the numbers are from.

tiny and small: layers, widths and heads of HSTU-large for MovieLens-1M and -20M, items up to the highest id of these
(configs/ml-1m and ml-20m/hstu-sampled-softmax-n128-large-final.gin, preprocessor.py in generative-recommenders);
200 is the length of the former, 500 that of the same model for ML-3B.
full: 12 layers is DlrmHSTUConfig's default, width and heads are those of its dlrm_v3 benchmark, 8,192 is the length at
which arXiv 2402.17152 compares speed; the mean length is mmprof's default, so is the size of the table.
"""

_LONGEST_GAP_SECONDS: Final = 1e6


def hstu_config(size: str, *, form: str = "research") -> HstuConfig:
    """The architecture of a size in a form."""
    return replace(_CONFIGS[size], form=form)


def history_lengths(mean: int, *, batch: int, spread: float) -> list[int]:
    """Lengths from `mean * (1 - spread)` to `mean * (1 + spread)`, evenly; their mean is `mean` up to rounding."""
    if batch == 1:
        return [mean]
    steps = [2 * i / (batch - 1) - 1 for i in range(batch)]
    return [max(1, round(mean * (1 + spread * step))) for step in steps]


def random_history(config: HstuConfig, lengths: list[int], generator: torch.Generator) -> History:
    """Histories of the given lengths; the gaps between two actions spread over all scales up to 11 days."""
    values = sum(lengths)
    exponents = torch.rand(values, generator=generator, dtype=torch.float64)
    return History(
        items=torch.randint(config.items, (values,), generator=generator),
        actions=torch.randint(config.actions, (values,), generator=generator),
        times=(_LONGEST_GAP_SECONDS**exponents).long().cumsum(0),
        lengths=torch.tensor(lengths),
        longest=max(lengths),
    )


def history_to(history: History, device: str) -> History:
    """The same history on a device."""
    items, actions, times, lengths, longest = history
    return History(
        items.to(device), actions.to(device), times.to(device), lengths.to(device), longest
    )


def hstu_workload(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: A history would be longer than the model's maximum length.
    """
    config = hstu_config(request.size, form=str(request.options["form"]))
    lengths = _checked_lengths(config, request)
    encoder = random_model(lambda: HstuEncoder(config), request)
    ranker = random_model(lambda: ActionRanker(config), request)
    generator = torch.Generator().manual_seed(request.seed)
    history = history_to(random_history(config, lengths, generator), request.device)
    shape = (request.batch, int(request.options["candidates"]))
    candidates = torch.randint(config.items, shape, generator=generator).to(request.device)

    @torch.inference_mode()
    def run() -> tuple[torch.Tensor, torch.Tensor]:
        with PhaseSequence() as phases:
            phases.enter("encode")
            states: torch.Tensor = encoder(history)
            phases.enter("rank")
            embedded = encoder.embedding.items(candidates)
            return states, ranker(states, history.lengths, embedded)

    return Workload(
        name="hstu",
        models={"encoder": encoder, "ranker": ranker},
        run=run,
        arguments=_arguments(config, lengths, request),
    )


def _checked_lengths(config: HstuConfig, request: Request) -> list[int]:
    mean = request.input_length or config.length
    spread = float(request.options["spread"])
    lengths = history_lengths(mean, batch=request.batch, spread=spread)
    if max(lengths) > config.max_length:
        raise ValueError(
            f"the longest history has {max(lengths)} values, but hstu of size {request.size} takes at most"
            f" {config.max_length}: choose a smaller input length or spread"
        )
    return lengths


def _arguments(config: HstuConfig, lengths: list[int], request: Request) -> Mapping[str, Argument]:
    scores = request.batch * config.heads * max(lengths) ** 2
    return {
        "form": config.form,
        "layers": config.layers,
        "width": config.width,
        "heads": config.heads,
        "batch": request.batch,
        "values": sum(lengths),
        "shortest": min(lengths),
        "longest": max(lengths),
        "candidates": int(request.options["candidates"]),
        "score_bytes": scores * torch_dtype(request).itemsize,
        "dtype": request.dtype,
        "seed": request.seed,
    }
