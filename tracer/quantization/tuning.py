"""AutoQuant: the fastest way to multiply, for each linear layer and shape, measured in place.

One request is recorded: which linear layers run, in which order, with which activations. Then these calls alone are replayed,
with the layers as they are and with one candidate everywhere, in alternating rounds. All weights pass by between two calls of
the same layer, so that caches are as cold as in the request; a product timed on its own would find its weights in the cache.
The idea is that of torchao's autoquant (removed in 0.17), which timed each product alone and chose one per layer.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor, nn

from mmprof.tracer.devices import synchronize
from mmprof.tracer.quantization.candidates import Candidate, Product, as_is
from mmprof.tracer.quantization.choices import (
    ANY_ROWS,
    AS_IS,
    UNCHANGED,
    Choices,
    LayerChoice,
    Ratio,
    Shape,
    Tried,
    choose,
    quartiles,
)

if TYPE_CHECKING:
    from mmprof.tracer.quantization.recording import Recording, Site

ROUNDS: Final = 7
_HOPELESS: Final = 2.0
"""A candidate that takes this many times as long in the first round is not measured further."""

_SLOW: Final = "slower, or not faster beyond noise"

Products: TypeAlias = "dict[Site, Product]"
Seconds: TypeAlias = "dict[Shape, float]"


@dataclass(frozen=True, slots=True)
class Tuned:
    """Products for the layers of a recording.

    Attributes:
        products: The candidate's product for each site that is not left as it is.
        choices: What was chosen, and from which times.
    """

    products: Products
    choices: Choices


@dataclass(slots=True)
class _Measured:
    """What is known of the candidates.

    Attributes:
        before_s: Seconds of a call as it is, by shape, of each round.
        ratios: By shape and candidate.
        errors: By site and candidate.
        unfit: Why a candidate was not timed, by shape and candidate.
    """

    before_s: dict[Shape, list[float]] = field(default_factory=lambda: defaultdict(list))
    ratios: dict[Shape, dict[str, Ratio]] = field(default_factory=lambda: defaultdict(dict))
    errors: dict[Site, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    unfit: dict[tuple[Shape, str], str] = field(default_factory=dict)

    def choice(self, site: Site, shape: Shape, budget: float) -> str:
        """The candidate of a site."""
        return choose(self.ratios[shape], self.errors[site], budget)


@torch.no_grad()
def tuned(
    recording: Recording, candidates: Sequence[Candidate], *, budget: float, lever: str
) -> Tuned:
    """Measure candidates, and choose.

    Args:
        recording: A request.
        candidates: The most precise first.
        budget: Largest relative L2 error of a layer's output.
        lever: Who chooses.
    """
    unchanged = {site: as_is(recording.layers[site.layer]) for site in recording.activations}
    found = _Measured()
    for candidate in candidates:
        _measure(candidate, recording, unchanged, found, budget=budget)
    chosen = {
        site: found.choice(site, recording.shape(site), budget) for site in recording.activations
    }
    named = {candidate.name: candidate for candidate in candidates}
    wanted = {site: named[name] for site, name in chosen.items() if name != AS_IS}
    return Tuned(
        _made(recording, wanted), _choices(recording, found, chosen, budget=budget, lever=lever)
    )


def _made(recording: Recording, wanted: Mapping[Site, Candidate]) -> Products:
    """Products of sites; those of a layer share its weights where they do not depend on the rows."""
    shared: dict[tuple[str, str, int], Product] = {}
    products: Products = {}
    for site, candidate in wanted.items():
        key = (site.layer, candidate.name, site.rows if candidate.by_rows else ANY_ROWS)
        if key not in shared:
            shared[key] = candidate.make(recording.layers[site.layer], site.rows)
        products[site] = shared[key]
    return products


def _measure(
    candidate: Candidate,
    recording: Recording,
    unchanged: Products,
    found: _Measured,
    *,
    budget: float,
) -> None:
    """Time a candidate where it fits and keeps the budget, in rounds that alternate with the layers as they are."""
    products = _within_budget(candidate, recording, unchanged, found, budget)
    if not products:
        return
    before = _replayed(recording, unchanged)
    for shape, seconds in _replayed(recording, unchanged | products, products).items():
        if seconds > _HOPELESS * before[shape]:
            found.unfit[shape, candidate.name] = f"{seconds / before[shape]:.1f} times as slow"
    products = {
        site: product
        for site, product in products.items()
        if (recording.shape(site), candidate.name) not in found.unfit
    }
    ratios: dict[Shape, list[float]] = defaultdict(list)
    for _ in range(ROUNDS if products else 0):
        before = _replayed(recording, unchanged)
        for shape, seconds in _replayed(recording, unchanged | products, products).items():
            ratios[shape].append(seconds / before[shape])
        for shape, seconds in before.items():
            found.before_s[shape].append(seconds)
    for shape, values in ratios.items():
        found.ratios[shape][candidate.name] = quartiles(values)


def _within_budget(
    candidate: Candidate,
    recording: Recording,
    unchanged: Products,
    found: _Measured,
    budget: float,
) -> Products:
    """The candidate's product for each site that it can multiply, and where it is precise enough."""
    fitting: dict[Site, Candidate] = {}
    for site in recording.activations:
        unfit = _why_not(candidate, recording.layers[site.layer], site.rows)
        if unfit:
            found.unfit[recording.shape(site), candidate.name] = unfit
        else:
            fitting[site] = candidate
    products = _made(recording, fitting)
    for site, product in products.items():
        activation = recording.activations[site]
        error = relative_error(product(activation), unchanged[site](activation))
        found.errors[site][candidate.name] = error
    return {
        site: product
        for site, product in products.items()
        if found.errors[site][candidate.name] <= budget
    }


def _why_not(candidate: Candidate, layer: nn.Linear, rows: int) -> str:
    if rows > candidate.most_rows:
        return f"made for at most {candidate.most_rows} rows"
    return candidate.why_not(layer)


def relative_error(made: Tensor, exact: Tensor) -> float:
    """Relative L2 error; infinite where it is not a number."""
    difference = (made.double() - exact.double()).norm()
    size = exact.double().norm()
    error = float(difference / size if size else difference)
    return error if error == error else float("inf")  # noqa: PLR0124  (false for not a number)


def _replayed(
    recording: Recording, products: Products, timed: Iterable[Site] | None = None
) -> Seconds:
    """Replay the calls.

    Args:
        recording: The calls.
        products: What multiplies.
        timed: The sites to time; all by default.

    Returns:
        Mean seconds of a call by shape.
    """
    kept = set(products if timed is None else timed)
    taken: dict[Shape, list[float]] = defaultdict(list)
    device = str(next(iter(recording.activations.values())).device)
    clock = _clock(device)
    for site in recording.order:
        product, activation = products[site], recording.activations[site]
        start = clock()
        product(activation)
        seconds = clock() - start
        if site in kept:
            taken[recording.shape(site)].append(seconds)
    return {shape: statistics.fmean(values) for shape, values in taken.items()}


def _clock(device: str) -> Callable[[], float]:
    """CPU time is steadier than wall time, but adds up over threads."""
    if device != "cpu":
        return lambda: _after(device)
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _after(device: str) -> float:
    synchronize(device)
    return time.perf_counter()


def _choices(
    recording: Recording,
    found: _Measured,
    chosen: Mapping[Site, str],
    *,
    budget: float,
    lever: str,
) -> Choices:
    layers = [_layer(recording, found, site, name) for site, name in chosen.items()]
    by_shape: dict[Shape, set[str]] = defaultdict(set)
    for site, name in chosen.items():
        by_shape[recording.shape(site)].add(name)
    tried = [
        _tried(recording, found, shape, name, chosen=name in names, budget=budget)
        for shape, names in by_shape.items()
        for name in _candidates_at(recording, found, shape)
    ]
    return Choices(lever=lever, error_budget=budget, layers=layers, tried=tried)


def _layer(recording: Recording, found: _Measured, site: Site, name: str) -> LayerChoice:
    shape = recording.shape(site)
    before = found.before_s[shape]
    before_us = statistics.median(before) * 1e6 if before else 0.0
    ratio = found.ratios[shape].get(name, UNCHANGED)
    return LayerChoice(
        layer=site.layer,
        rows=site.rows,
        weight=(shape.outputs, shape.inputs),
        dtype=shape.dtype,
        calls=recording.calls[site],
        chosen=name,
        before_us=before_us,
        after_us=before_us * ratio.median,
        spread_us=(before_us * ratio.low, before_us * ratio.high),
        error=found.errors[site].get(name, 0.0),
    )


def _candidates_at(recording: Recording, found: _Measured, shape: Shape) -> list[str]:
    """Those that were timed, that do not fit, and that are not precise enough."""
    made = (names for site, names in found.errors.items() if recording.shape(site) == shape)
    imprecise = [name for names in made for name in names]
    unfit = [name for at, name in found.unfit if at == shape]
    return list(dict.fromkeys((*found.ratios[shape], *unfit, *imprecise)))


def _tried(
    recording: Recording, found: _Measured, shape: Shape, name: str, *, chosen: bool, budget: float
) -> Tried:
    errors = [
        known[name]
        for site, known in found.errors.items()
        if recording.shape(site) == shape and name in known
    ]
    ratio = found.ratios[shape].get(name)
    imprecise = errors and min(errors) > budget
    rejected = found.unfit.get((shape, name), "") or ("error" if imprecise else _SLOW)
    return Tried(
        candidate=name,
        rows=shape.rows,
        weight=(shape.outputs, shape.inputs),
        ratio=ratio.median if ratio else None,
        spread=(ratio.low, ratio.high) if ratio else None,
        error=max(errors, default=None),
        rejected="" if chosen else rejected,
    )
