"""What a lever tells about itself: when it applies, what it should gain, how it is applied and how exact it is.

One file in `tracer/levers` is one lever: it holds a `Lever` named `LEVER`, and imports torch only inside the functions that need a
model, so that `mmprof recommend` works without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Prediction, Replay
    from mmprof.tracer.workload import Argument, Workload

Exactness: TypeAlias = Literal["identical", "reassociation", "lossy", "distribution"]
Layer: TypeAlias = Literal["application", "system", "compression", "algorithm", "hardware"]
Risk: TypeAlias = Literal["low", "medium", "high"]

LAYERS: Final = ("application", "system", "compression", "algorithm", "hardware")

EVERY: Final = "*"
"""In `Lever.after`: all other levers."""


class NotApplicableError(Exception):
    """What a lever raises, while it is applied or at the first run under it, where it finds nothing to act on."""


@dataclass(frozen=True, slots=True)
class Lever:
    """A lever.

    Attributes:
        id: Stable name, as findings and JSON have it: "sdpa", "cuda_graphs", "static_kv_cache".
        layer: Where in the stack it acts.
        summary: One line: what it does.
        exactness: What its outputs promise: bit-equal, equal up to the order of additions, lossy, or equal in distribution.
        risk: How likely it is to fail or to disappoint.
        cost: What it asks for: compile time, memory, a quantized copy.
        hurts: When it slows a model down or costs quality.
        applies: Why it cannot be applied to a workload on a device; "" where it can. Looks at the model, never at its name.
        apply: Applies it while the context is entered; leaving it restores the workload. Yields the workload to run.
        predict: The change it makes to a trace, replayed; None where the trace shows nothing that it would change, with
            the reason in the second place.
        unseen: Why no trace tells what it gains, where `predict` is None, or why a trace that shows nothing says little; ""
            for the usual words.
        settings: Parameters of the lever with their defaults.
        budget: The largest relative L2 error that a lossy lever may make; 0 for the others.
        after: Ids of the levers that come before it where both are applied; `EVERY` for all others. A compiler comes after
            what changes the modules that it compiles.
        conflicts: Ids of the levers that cannot be, or need not be, applied together with it: both compile, both store the
            weights, or it has the other one's effect. It is enough that one of two names the other.
    """

    id: str
    layer: Layer
    summary: str
    exactness: Exactness
    risk: Risk
    cost: str
    hurts: str
    applies: Callable[[Workload, str], str]
    apply: Callable[[Workload], AbstractContextManager[Workload]]
    predict: Callable[[Replay], tuple[Prediction | None, str]] | None = None
    unseen: str = ""
    settings: Mapping[str, Argument] = field(default_factory=dict)
    budget: float = 0.0
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
