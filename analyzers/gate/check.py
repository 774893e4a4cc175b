"""A check: conditions on traces, judged, as the document `mmprof.check/1`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from mmprof.analyzers.contract import Json, struct_schema
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.baseline import Against, Baseline, BaselineInput, inputs_of, readable
from mmprof.analyzers.gate.comparability import Comparison, compared
from mmprof.analyzers.gate.judge import CROSSED, NOISE, Condition, Judgement, judgements

if TYPE_CHECKING:
    from mmprof.analyzers.gate.measure import Measured

SCHEMA: Final = "mmprof.check/1"


class CheckedDevice(Struct, frozen=True):
    """A device that was checked.

    Attributes:
        rank: Rank of the process.
        device: Device index; -1 for the host of a trace without device activities.
        name: Name of the device.
        step: What a step is: `step` for the profiler's, a phase, or `window`.
        steps: Number of steps in each trace.
    """

    rank: int
    device: int
    name: str
    step: str
    steps: list[int]


class CheckedBaseline(Struct, frozen=True):
    """The baseline of a check.

    Attributes:
        path: Where it is.
        inputs: The traces behind it.
    """

    path: str
    inputs: list[BaselineInput]


class Check(Struct, frozen=True, kw_only=True):
    """Result of `mmprof check`.

    Attributes:
        ok: Whether no condition is crossed.
        inputs: The traces.
        devices: What was checked.
        baseline: What it was compared with; null without one.
        comparable: What differs from the baseline beside the numbers.
        judgements: Every condition on every device that has its metric.
    """

    schema: str = SCHEMA
    ok: bool
    inputs: list[BaselineInput]
    devices: list[CheckedDevice]
    baseline: CheckedBaseline | None
    comparable: Comparison
    judgements: list[Judgement]

    def having(self, status: str) -> list[Judgement]:
        """The judgements of a status."""
        return [j for j in self.judgements if j.status == status]

    @property
    def crossed(self) -> list[Judgement]:
        """What makes the check fail."""
        return self.having(CROSSED)

    @property
    def noisy(self) -> list[Judgement]:
        """What is crossed only within the noise."""
        return self.having(NOISE)


def check(
    measured: Measured,
    conditions: Sequence[Condition],
    against: Against | None = None,
    *,
    strict: bool = False,
    anyway: bool = False,
    version: str = "",
) -> Check:
    """Judge conditions on what was measured.

    Args:
        measured: The traces.
        conditions: The conditions.
        against: The baseline; None without one.
        strict: Count what is within the noise as crossed.
        anyway: Compare what cannot be compared; the reasons are kept in the result.
        version: The version of mmprof that measured the traces.

    Raises:
        MmprofError: The baseline cannot be compared, or a condition cannot be judged.
    """
    comparable = _comparison(measured, against, version)
    if comparable.refused and not anyway and against:
        raise MmprofError(
            "MM-E082",
            f"{against.path} and this trace cannot be compared",
            found="; ".join(comparable.refused),
            hint="save a new baseline from a run like this one, or --anyway to compare them as they are",
        )
    judged = judgements(conditions, measured.devices, against, strict=strict)
    return Check(
        ok=not any(j.status == CROSSED for j in judged),
        inputs=inputs_of(measured),
        devices=[
            CheckedDevice(d.rank, d.device, d.name, d.step, d.steps) for d in measured.devices
        ],
        baseline=CheckedBaseline(readable(against.path), against.baseline.inputs)
        if against
        else None,
        comparable=comparable,
        judgements=judged,
    )


def check_schema() -> Json:
    """The JSON Schema (draft 2020-12) of `mmprof.check/1`."""
    return struct_schema(Check, SCHEMA)


def _comparison(measured: Measured, against: Against | None, version: str) -> Comparison:
    if against is None:
        return Comparison()
    known = against.baseline
    found = compared((known.setup, known.devices), (measured.setup, measured.devices))
    return Comparison(found.refused, [*found.noted, *_doubts(measured, known, version)])


def _doubts(measured: Measured, known: Baseline, version: str) -> Iterator[str]:
    """What may explain a difference, or that there is none, and lies in the measuring."""
    if known.mmprof and version and known.mmprof != version:
        yield f"version of mmprof: {known.mmprof} before, {version} now"
    checked = {facts.sha256 for facts in measured.inputs}
    for entry in known.inputs:
        if entry.sha256 in checked:
            yield f"{entry.name} is a trace of the baseline itself"
