"""Which levers to pull first: each one's prediction, ranked, and what the best of them give together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from mmprof.analyzers.contract import struct_schema
from mmprof.analyzers.findings import Evidence, find
from mmprof.analyzers.findings.thresholds import SIGNIFICANT_SHARE
from mmprof.analyzers.notes import Note
from mmprof.analyzers.trace import InputFacts
from mmprof.analyzers.units import three_digits
from mmprof.analyzers.whatif.by_hand import Advice
from mmprof.analyzers.whatif.prediction import Case, Prediction, speedups
from mmprof.analyzers.whatif.replay import Replay

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

SCHEMA: Final = "mmprof.recommendation/1"
MOST_TOGETHER: Final = 4
"""Levers in a stack: what a user tries in one go; more are listed one by one."""

_SCHEDULES: Final = ("continuous_batching", "sequence_bucketing")

# Of these only one can be applied: all compile, all store the weights of linear layers anew, both round the factors of products, both
# fuse attention, a schedule has a loop of its own.
EXCLUSIVE: Final = (
    frozenset({"compile_regional", "cuda_graphs", "torch_compile"}),
    frozenset(
        {
            "autoquant",
            "float8",
            "fp16_weights",
            "fused_projections",
            "quantization_dynamic",
            "quantization_int4",
            "quantization_weight_only",
        }
    ),
    frozenset({"dtype", "tf32"}),
    frozenset({"dtype", "head_dtype"}),
    frozenset({"flex_attention", "sdpa"}),
    frozenset({"pinned_copies", "pinned_memory"}),
    *(
        frozenset({*_SCHEDULES, other})
        for other in ("cuda_graphs", "flex_attention", "static_kv_cache", "torch_compile")
    ),
)
_UNSEEN: Final = "a trace does not show what it would gain; `mmprof verify` measures it"
_RISKS: Final = ("low", "medium", "high")
_FROM_BEST: Final = ("identical", "reassociation", "distribution", "lossy")


class Candidate(Protocol):
    """What is asked of a lever; `mmprof.tracer.lever.Lever` has it all."""

    @property
    def id(self) -> str:
        """Stable name."""
        ...

    @property
    def layer(self) -> str:
        """Where in the stack it acts."""
        ...

    @property
    def summary(self) -> str:
        """What it does."""
        ...

    @property
    def exactness(self) -> str:
        """What its outputs promise."""
        ...

    @property
    def risk(self) -> str:
        """How likely it is to disappoint."""
        ...

    @property
    def cost(self) -> str:
        """What it asks for."""
        ...

    @property
    def hurts(self) -> str:
        """When it makes things worse."""
        ...

    @property
    def predict(self) -> Callable[[Replay], tuple[Prediction | None, str]] | None:
        """What it changes, replayed."""
        ...

    @property
    def unseen(self) -> str:
        """Why no trace tells what it gains, where it predicts nothing."""
        ...


class Bounds(Struct, frozen=True):
    """How many times faster the window would be.

    Attributes:
        low: At least.
        expected: As is likely.
        high: At most.
    """

    low: float
    expected: float
    high: float


class Recommendation(Struct, frozen=True):
    """A lever worth trying.

    Attributes:
        lever: Its id.
        layer: application, system, compression, algorithm or hardware.
        summary: What it does.
        predicted: Speedup of the window.
        evidence: The activities that it acts on.
        risk: low, medium or high.
        exactness: identical, reassociation, lossy or distribution.
        cost: What it asks for.
        hurts: When it makes things worse.
        assumptions: What the prediction rests on.
        automatic: Whether mmprof can apply it to a workload; else it is a change of the user's code.
        findings: Codes of the findings that name it.
    """

    lever: str
    layer: str
    summary: str
    predicted: Bounds
    evidence: Evidence
    risk: str
    exactness: str
    cost: str
    hurts: str
    assumptions: list[str]
    automatic: bool
    findings: list[str]


class Rejected(Struct, frozen=True):
    """A lever that is not recommended.

    Attributes:
        lever: Its id.
        why: Why not.
    """

    lever: str
    why: str


class Stack(Struct, frozen=True):
    """Levers together, by one replay with the changes of all.

    Attributes:
        levers: Their ids.
        predicted: Speedup of the window with all of them.
        exactness: The weakest promise among them.
    """

    levers: list[str]
    predicted: Bounds
    exactness: str


class ReplayFacts(Struct, frozen=True):
    """How far the replay can be trusted.

    Attributes:
        window_ns: The measured window.
        replayed_ns: The window as the replay has it without changes, each edge taking what is typical.
        error: Their difference as a share of the measured window; above 0.1 nothing is predicted.
        unexplained: Share of the measured window that the critical path spends on edges beyond what is typical, where other edges
            do not make up for it; above 0.1 nothing is predicted, either.
        base_ns: The window that speedups are relative to: the measured one, less what the profiler cost where that is known.
        event_cost_ns: What the profiler took for each event of the host; null where it is not known.
        unprofiled_ns: The window as long as un-profiled runs say; null without any. `base_ns` is longer where an event would have
            to cost more than is credible.
        reliable: Whether the error is small enough to predict.
    """

    window_ns: int
    replayed_ns: int
    error: float
    unexplained: float
    base_ns: int
    event_cost_ns: float | None
    unprofiled_ns: int | None
    reliable: bool


class Recommendations(Struct, frozen=True, kw_only=True):
    """Result of `mmprof recommend`.

    Attributes:
        schema: Name and version of the document.
        input: The trace.
        notes: What a reader of the numbers should know.
        rank: Rank of the trace.
        device: Device of the window; -1 for the host of a trace without device activities.
        name: Name of the device; empty where it is not known.
        window: The selected part of the trace; empty for all of it.
        replay: How far the replay can be trusted.
        recommendations: The largest expected gain first.
        stack: The best of them together; null where there are fewer than two that fit together.
        rejected: Levers that were considered, and why they are not recommended.
    """

    schema: str = SCHEMA
    input: InputFacts
    notes: list[Note]
    rank: int
    device: int
    name: str
    window: str
    replay: ReplayFacts
    recommendations: list[Recommendation]
    stack: Stack | None
    rejected: list[Rejected]


def recommend(
    view: View, candidates: Iterable[Candidate], *, name: str = "", window: str = ""
) -> Recommendations:
    """Rank levers by what they would gain in a window.

    Args:
        view: The window.
        candidates: The levers.
        name: Name of the device.
        window: What selected the window, for the document.
    """
    replay = Replay(view)
    named = _findings_by_lever(view)
    ranked, rejected = _ranked(candidates, replay)
    return Recommendations(
        input=_readable(view.trace.facts),
        notes=list(view.trace.notes),
        rank=view.trace.rank,
        device=view.device,
        name=name,
        window=window,
        replay=_facts(replay),
        recommendations=[_entry(c, p, named.get(c.id, [])) for c, p in ranked],
        stack=_stack(replay, ranked),
        rejected=rejected,
    )


def recommendation_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return struct_schema(Recommendations, SCHEMA)


def _ranked(
    candidates: Iterable[Candidate], replay: Replay
) -> tuple[list[tuple[Candidate, Prediction]], list[Rejected]]:
    """The levers that are worth trying, the most promising first, and the others."""
    ranked: list[tuple[Candidate, Prediction]] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        prediction, why = _predict(candidate, replay)
        if prediction is None:
            rejected.append(Rejected(candidate.id, why))
        else:
            ranked.append((candidate, prediction))
    ranked.sort(key=_place)
    return ranked, rejected


def _place(pair: tuple[Candidate, Prediction]) -> tuple[float, float, int, str]:
    """The largest gain first; of equal ones the one that disappoints least."""
    candidate, prediction = pair
    return -prediction.expected, -prediction.high, _RISKS.index(candidate.risk), candidate.id


def _predict(candidate: Candidate, replay: Replay) -> tuple[Prediction | None, str]:
    if not replay.window_ns:
        return None, "the window is empty"
    if candidate.predict is None:
        return None, candidate.unseen or _UNSEEN
    prediction, why = candidate.predict(replay)
    if prediction is None:
        return None, candidate.unseen or why
    if prediction.expected - 1 < SIGNIFICANT_SHARE:
        return (
            None,
            f"little is expected of it; at most {three_digits(prediction.high)} times faster",
        )
    return prediction, ""


def _entry(candidate: Candidate, prediction: Prediction, findings: list[str]) -> Recommendation:
    return Recommendation(
        lever=candidate.id,
        layer=candidate.layer,
        summary=candidate.summary,
        predicted=Bounds(prediction.low, prediction.expected, prediction.high),
        evidence=prediction.evidence,
        risk=candidate.risk,
        exactness=candidate.exactness,
        cost=candidate.cost,
        hurts=candidate.hurts,
        assumptions=list(prediction.assumptions),
        automatic=not isinstance(candidate, Advice),
        findings=findings,
    )


def _stack(replay: Replay, ranked: Sequence[tuple[Candidate, Prediction]]) -> Stack | None:
    """The best levers that fit together; one joins only if it adds what a measurement could see."""
    chosen: list[tuple[Candidate, Prediction]] = []
    reached = (1.0, 1.0, 1.0)
    for candidate, prediction in ranked:
        if len(chosen) == MOST_TOGETHER or _excluded(candidate, [c for c, _ in chosen]):
            continue
        together = speedups(replay, _joint([*(p for _, p in chosen), prediction]))
        if together[1] >= reached[1] * (1 + SIGNIFICANT_SHARE):
            chosen.append((candidate, prediction))
            reached = together
    if len(chosen) < 2:
        return None
    weakest = max((c.exactness for c, _ in chosen), key=_FROM_BEST.index)
    return Stack([c.id for c, _ in chosen], Bounds(*reached), weakest)


def _joint(predictions: Sequence[Prediction]) -> Case:
    return Case(
        low=[change for p in predictions for change in p.case.low],
        expected=[change for p in predictions for change in p.case.expected],
        high=[change for p in predictions for change in p.case.high],
    )


def _excluded(candidate: Candidate, chosen: Sequence[Candidate]) -> bool:
    return any(candidate.id in group and c.id in group for group in EXCLUSIVE for c in chosen)


def _findings_by_lever(view: View) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for finding in find(view):
        named.setdefault(finding.lever, []).append(finding.code)
    return named


def _facts(replay: Replay) -> ReplayFacts:
    return ReplayFacts(
        window_ns=replay.window_ns,
        replayed_ns=replay.replayed_ns,
        error=replay.error,
        unexplained=replay.unexplained,
        base_ns=replay.base_ns,
        event_cost_ns=replay.event_cost_ns,
        unprofiled_ns=replay.unprofiled_ns,
        reliable=replay.reliable,
    )


def _readable(facts: InputFacts) -> InputFacts:
    """A path that is not UTF-8 reaches Python as surrogates, which no JSON encoder takes."""
    readable = facts.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return replace(facts, path=readable)
