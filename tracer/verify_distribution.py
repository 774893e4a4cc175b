"""Whether two sides draw their outputs from the same distribution, as far as some draws of each can tell.

The statistic is the energy distance of the draws, its p-value that of a permutation test: Szekely and Rizzo, Energy statistics: A
class of statistics based on distances, Journal of Statistical Planning and Inference 143 (2013), sections 3 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from mmprof.tracer.verify_results import OutputCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmprof.tracer.workload import Workload

    Outputs = dict[str, Tensor]

DRAWS: Final = 32
LEAST_P: Final = 0.01
"""Below this, the distributions are called different: once in a hundred times where they are not."""

_PERMUTATIONS: Final = 999


def drawn(
    workload: Workload, outputs_of: Callable[[object], Outputs], *, first_seed: int = 0
) -> list[Outputs]:
    """The outputs of `DRAWS` requests, each under a seed of its own of torch's generators, which are left as they were.

    Args:
        workload: What to run.
        outputs_of: The tensors in what a run returned.
        first_seed: Of the first request.
    """
    made = []
    with torch.random.fork_rng():
        for seed in range(first_seed, first_seed + DRAWS):
            torch.manual_seed(seed)
            made.append(outputs_of(workload.run()))
    return made


def check_draws(own: Sequence[Outputs], made: Sequence[Outputs]) -> OutputCheck:
    """Compare draws of the baseline with draws under a lever."""
    distances = _distances([*own, *made])
    if not distances[: len(own), : len(own)].any():
        return _constant(equal=not distances.any())
    p = _p_value(distances, len(own))
    told = f"{len(own)} draws of each side, energy distance: p = {p:.3f}"
    return OutputCheck(ok=p >= LEAST_P, detail=told if p >= LEAST_P else f"drawn otherwise; {told}")


def _constant(*, equal: bool) -> OutputCheck:
    if equal:
        return OutputCheck(ok=True, detail="nothing is drawn: all outputs equal in every bit")
    return OutputCheck(
        ok=False, detail="the baseline's outputs do not depend on the seed, these do not equal them"
    )


def _p_value(distances: Tensor, count: int) -> float:
    """How often sides whose draws are shuffled lie as far apart."""
    shuffled = torch.rand(
        _PERMUTATIONS, len(distances), generator=torch.Generator().manual_seed(0)
    ).argsort(1)
    seen = _energy(distances, torch.arange(len(distances))[None] < count)
    others = _energy(distances, shuffled < count)
    return float((1 + (others >= seen).sum()) / (1 + _PERMUTATIONS))


def _energy(distances: Tensor, first: Tensor) -> Tensor:
    """The energy distance of two sides, for each row that says which draws are of the first one."""
    one, other = first.to(distances), (~first).to(distances)

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return ((a @ distances) * b).sum(1) / (a.sum(1) * b.sum(1))

    return 2 * mean(one, other) - mean(one, one) - mean(other, other)


def _distances(draws: Sequence[Outputs]) -> Tensor:
    found = torch.zeros(len(draws), len(draws), dtype=torch.float64)
    for at, one in enumerate(draws):
        for before, other in enumerate(draws[:at]):
            found[at, before] = found[before, at] = _distance(one, other)
    return found


def _distance(one: Outputs, other: Outputs) -> float:
    """The mean over the outputs: 0 where they are equal, 1 where nothing is."""
    names = one.keys() | other.keys()
    known = (_apart(one[n], other[n]) if n in one and n in other else 1.0 for n in names)
    return sum(known) / max(len(names), 1)


def _apart(one: Tensor, other: Tensor) -> float:
    """Of tokens the share that differs, of numbers the relative L2 distance; 1 for another shape."""
    if one.shape != other.shape:
        return 1.0
    if not one.is_floating_point():
        return float((one != other).double().mean()) if one.numel() else 0.0
    a, b = one.to(torch.float64), other.to(torch.float64)
    size = float(a.norm() + b.norm())
    return float((a - b).norm()) / size if size else 0.0
