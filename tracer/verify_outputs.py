"""Whether the outputs under a lever keep the promise of its exactness.

identical: equal bits. reassociation: the largest relative L2 error is rounding, 1e-5 for float32; a token differs only
where the baseline's two best logits are closer than the error of that step, which is what teacher forcing shows. lossy: that
error is within the lever's budget, and so is the rise of perplexity, where the workload has a real text to measure it on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import torch
from torch import Tensor

from mmprof.tracer.verify_distribution import check_draws, drawn
from mmprof.tracer.verify_results import OutputCheck, QualityCheck
from mmprof.tracer.verify_taps import OF_REQUEST, SCORES, Tap, tapped

if TYPE_CHECKING:
    from pathlib import Path

    from mmprof.tracer.lever import Exactness
    from mmprof.tracer.verify_taps import Streams
    from mmprof.tracer.workload import Workload

TOLERANCE: Final = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Relative L2 error that another order of additions may make, by the dtype of the baseline: `docs/verification.md`."""
COARSE_TOLERANCE: Final = 2e-2
"""The same for bfloat16 and float16."""

ROUGH: Final = 0.2
"""Relative L2 error that a lossy lever may make where quality is measured as well: less than stale keys make (0.27 and 0.39)."""

_MASKED: Final = -1e30
"""Below this, a logit is a mask (Chameleon forbids image tokens so), whose square would hide every other error."""

Outputs: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True, slots=True)
class Reference:
    """What the baseline made.

    Attributes:
        outputs: Its outputs by name, on the host.
        streams: Its logits by where they pass, in the order of the calls.
        deterministic: Whether a second run gave equal bits.
        quality: What the workload's quality measures; None where it has none.
        draws: Outputs under other seeds, where a lever promises their distribution.
    """

    outputs: Outputs
    streams: Streams
    deterministic: bool
    quality: float | None = None
    draws: Sequence[Outputs] = ()

    def save(self, path: Path) -> None:
        """Write it to a file."""
        kept = [self.outputs, dict(self.streams), self.deterministic, self.quality]
        torch.save([*kept, list(self.draws)], path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read it from a file."""
        return cls(*torch.load(path, map_location="cpu"))


@dataclass(frozen=True, slots=True)
class _Error:
    """How far tensors are from the baseline's.

    Attributes:
        relative: Largest relative L2 error.
        excess: The largest ratio of an error to its tolerance for another order of additions.
        rows: Rows of logits that were compared.
        agreeing: Those whose largest is the baseline's.
    """

    relative: float = 0.0
    excess: float = 0.0
    rows: int = 0
    agreeing: int = 0

    def __add__(self, other: _Error) -> _Error:
        return _Error(
            max(self.relative, other.relative),
            max(self.excess, other.excess),
            self.rows + other.rows,
            self.agreeing + other.agreeing,
        )


def reference_of(workload: Workload, *, draws: bool = False) -> Reference:
    """Run the baseline twice, the second time with its logits kept; where asked to, also under other seeds."""
    first, tap = outputs_of(workload.run()), Tap()
    with tapped(workload, tap):
        second = outputs_of(workload.run())
    quality = workload.quality.measure() if workload.quality else None
    others = drawn(workload, outputs_of) if draws else []
    return Reference(second, dict(tap.streams), _same_bits(first, second), quality, others)


def check_outputs(
    workload: Workload, reference: Reference, exactness: Exactness, *, budget: float = 0.0
) -> OutputCheck:
    """Run a workload under its levers, and compare.

    Args:
        workload: With the levers applied.
        reference: What the baseline made.
        exactness: The weakest promise of the levers.
        budget: The largest relative error that lossy levers may make.
    """
    measured = exactness == "lossy" and workload.quality is not None
    found = _compared(workload, reference, exactness, max(budget, ROUGH) if measured else budget)
    if exactness == "lossy":
        found = with_quality(found, workload, reference)
    return msgspec.structs.replace(found, facts=dict(workload.facts()))


def _compared(
    workload: Workload, reference: Reference, exactness: Exactness, budget: float
) -> OutputCheck:
    if exactness == "distribution":
        made = drawn(workload, outputs_of, first_seed=len(reference.draws))
        return check_draws(reference.draws, made)
    free = outputs_of(workload.run())
    equal = _same_bits(reference.outputs, free)
    if exactness == "identical" and (equal or reference.deterministic):
        return _identical(reference.outputs, free, equal=equal)
    return _within(_forced(workload, reference, free), exactness, budget, equal=equal)


def with_quality(found: OutputCheck, workload: Workload, reference: Reference) -> OutputCheck:
    """The comparison with what the levers cost in quality; unchanged where that is not measured."""
    quality = workload.quality
    if quality is None or reference.quality is None:
        return found
    told = QualityCheck(quality.name, reference.quality, quality.measure(), quality.budget)
    # A fall so far is an error, too: a model sees what it should guess. Not so where it is not a number.
    kept = abs(told.rise) <= told.budget
    words = f"{told.name} {told.before:.4g}, then {told.after:.4g} ({told.rise:+.2%})"
    detail = words if kept else f"{words}, beyond the budget of {told.budget:.2%}"
    return msgspec.structs.replace(
        found, ok=found.ok and kept, detail=f"{found.detail}; {detail}", quality=told
    )


def outputs_of(value: object, name: str = "output") -> Outputs:
    """The tensors and numbers in what a run returned, by where they are in it, on the host."""
    return {path: tensor.detach().cpu().clone() for path, tensor in _leaves(value, name)}


def _leaves(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (bool, int, float)):
        yield name, torch.tensor(value)
    else:
        for key, inner in _members(value):
            yield from _leaves(inner, f"{name}.{key}")


def _members(value: object) -> list[tuple[object, object]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (tuple, list)):
        return list(enumerate(value))
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []


def _same_bits(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(_equal_bits(t, other[n]) for n, t in one.items())


def _equal_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _identical(reference: Outputs, made: Outputs, *, equal: bool) -> OutputCheck:
    if equal:
        return OutputCheck(
            ok=True, detail=f"{_count(len(made), 'output')} equal in every bit", outputs_equal=True
        )
    differing = [
        name
        for name in reference
        if name not in made or not _equal_bits(reference[name], made[name])
    ]
    named = ", ".join(differing[:3]) or "a further output"
    return OutputCheck(ok=False, detail=f"not equal in every bit: {named}", outputs_equal=False)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What can be said of outputs that need not have equal bits.

    Attributes:
        logits: Errors of logits.
        floats: Errors of floating-point outputs.
        steps: Steps whose logits were compared.
        wrong: What differs that no error of logits explains; empty otherwise.
    """

    logits: _Error
    floats: _Error
    steps: int
    wrong: str


def _forced(workload: Workload, reference: Reference, free: Outputs) -> _Comparison:
    """Compare the logits of each step, and the outputs, for the tokens that the baseline chose."""
    if not reference.streams:
        return _Comparison(_Error(), _floats(reference.outputs, free), 0, _wrong(reference, free))
    tap = Tap(reference.streams)
    with tapped(workload, tap):
        forced = outputs_of(workload.run())
    whole = _whole(reference.streams, tap.streams)
    if set(whole) > {SCORES}:
        # What stands in front of the choice are the logits that replaced a head's own: nothing new.
        for name in whole[SCORES]:
            tap.streams.pop(name)
    logits = [
        _logits_error(own, made)
        for name, of_baseline in reference.streams.items()
        for own, made in zip(of_baseline, tap.streams[name], strict=False)
    ]
    wrong = _wrong(reference, forced) if whole else "the steps of the loop are not the baseline's"
    floats = _floats(reference.outputs, forced)
    steps = max(
        (sum(len(reference.streams[n]) for n in names) for names in whole.values()), default=0
    )
    return _Comparison(_sum(logits), floats, steps, wrong)


def _whole(own: Streams, made: Streams) -> dict[str, list[str]]:
    """Where as many logits passed as in the baseline, of every request: the names of the streams there."""
    names: dict[str, list[str]] = {}
    for name in own:
        names.setdefault(name.partition(OF_REQUEST)[0], []).append(name)
    return {
        place: streams
        for place, streams in names.items()
        if all(len(made[name]) == len(own[name]) for name in streams)
    }


def _sum(errors: Sequence[_Error]) -> _Error:
    return sum(errors, start=_Error())


def _floats(reference: Outputs, made: Outputs) -> _Error:
    return _sum(
        [
            _error(tensor, made[name])
            for name, tensor in reference.items()
            if tensor.is_floating_point() and name in made
        ]
    )


def _wrong(reference: Reference, made: Outputs) -> str:
    """Outputs that are missing or of another shape, and integers that differ."""
    for name, tensor in reference.outputs.items():
        if name not in made:
            return f"{name} is missing"
        if made[name].shape != tensor.shape:
            return f"{name} has the shape {tuple(made[name].shape)}, not {tuple(tensor.shape)}"
        if not tensor.is_floating_point() and not torch.equal(tensor, made[name].to(tensor.dtype)):
            return f"{name} differs"
    return ""


def _logits_error(own: Tensor, made: Tensor) -> _Error:
    error = _error(own, made)
    if own.dim() == 0 or own.shape != made.shape:
        return error
    agreeing = own.argmax(-1) == made.argmax(-1)
    return _Error(error.relative, error.excess, agreeing.numel(), int(agreeing.sum()))


def _error(own: Tensor, made: Tensor) -> _Error:
    if own.shape != made.shape:
        return _Error(math.inf, math.inf)
    exact, other = own.to(torch.float64), made.to(torch.float64)
    counted = torch.isfinite(exact) & (exact > _MASKED)
    difference = (other - exact)[counted].norm()
    size = exact[counted].norm()
    relative = float(difference / size) if size else float(difference)
    relative = math.inf if math.isnan(relative) else relative
    return _Error(relative, relative / TOLERANCE.get(own.dtype, COARSE_TOLERANCE))


def _within(found: _Comparison, exactness: Exactness, budget: float, *, equal: bool) -> OutputCheck:
    lossy = exactness == "lossy"
    error = found.logits + found.floats
    wrong = found.wrong
    if not wrong and lossy and error.relative > budget:
        wrong = f"relative L2 error above the budget of {budget:g}"
    if not wrong and not lossy and error.excess > 1:
        wrong = "relative L2 error above what another order of additions makes"
    return OutputCheck(
        ok=not wrong,
        detail="; ".join(filter(None, (wrong, *_told(found, error, equal=equal)))),
        relative_error=error.relative if math.isfinite(error.relative) else None,
        agreement=found.logits.agreeing / found.logits.rows if found.logits.rows else None,
        snr_db=-20 * math.log10(error.relative) if 0 < error.relative < math.inf else None,
        outputs_equal=equal,
    )


def _told(found: _Comparison, error: _Error, *, equal: bool) -> Iterator[str]:
    if found.steps:
        yield f"relative L2 error {error.relative:.1e} in {_count(found.steps, 'step')}"
        yield _choices(found.logits)
    else:
        yield f"relative L2 error {error.relative:.1e}"
    if equal:
        yield "what a free run returns is equal in every bit"


def _choices(logits: _Error) -> str:
    others = logits.rows - logits.agreeing
    if not others:
        return "same greedy choices"
    return f"another greedy choice in {others:,} of {_count(logits.rows, 'row')}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
