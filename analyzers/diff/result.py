"""What a diff says: the document `mmprof.diff/1`."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct, field

from mmprof.analyzers.contract import struct_schema
from mmprof.analyzers.notes import Note
from mmprof.analyzers.trace import InputFacts

SCHEMA: Final = "mmprof.diff/1"
Handling = Literal["normalised", "noted", "refused"]
Verdict = Literal["faster", "slower", "no change", "undecided"]
Sampled = Literal["window", "step", "trace"]


class Reason(Struct, frozen=True):
    """Something in which the two sides differ besides what is measured.

    Attributes:
        code: Stable code, `MM-N...`.
        what: What differs: device, torch, dtype, shapes, steps, ...
        handling: `normalised`: the times are divided so that it does not matter; `noted`: read the numbers with it in mind;
            `refused`: the times say nothing of a change.
        message: One sentence.
        before: Its value before.
        after: Its value after.
    """

    code: str
    what: str
    handling: Handling
    message: str
    before: str
    after: str


class Comparable(Struct, frozen=True):
    """Whether the two sides can be compared.

    Attributes:
        ok: Whether nothing refuses it.
        reasons: What differs, refusals first.
    """

    ok: bool
    reasons: list[Reason]


class SideFacts(Struct, frozen=True):
    """One side.

    Attributes:
        label: What it is called.
        inputs: Its files.
        devices: Names of its devices, each once.
        windows: Device windows: each device of each trace.
        steps: Steps that launched activities, of all windows.
        samples: Samples that verdicts rest on.
        notes: What loading had to assume.
    """

    label: str
    inputs: list[InputFacts]
    devices: list[str]
    windows: int
    steps: int
    samples: int
    notes: list[Note]


class Total(Struct, frozen=True):
    """The change of one unit as a whole.

    Attributes:
        before_ns: Time before.
        after_ns: Time after.
        delta_ns: after_ns - before_ns.
        interval_ns: 95 % interval of the difference of the samples' medians; null with too few samples.
        verdict: `faster`, `slower`, `no change` or `undecided`.
        reason: Why it is undecided; else empty.
        times_faster: before_ns / after_ns where less time is taken after; else null.
        times_slower: after_ns / before_ns where more time is taken after; else null.
        p: Probability of such samples where nothing changed; null with too few.
        detectable_ns: The smallest change that these samples would show four times out of five; null where unknown.
    """

    before_ns: int
    after_ns: int
    delta_ns: int
    interval_ns: tuple[int, int] | None
    verdict: Verdict
    reason: str
    times_faster: float | None
    times_slower: float | None
    p: float | None
    detectable_ns: int | None


class Row(Struct, frozen=True):
    """One row of a level; delta_ns of all rows of a level sums to that of the total.

    Attributes:
        key: What it is of: `linear`, `aten::mm [[16,768],[768,64]]`, `old kernel -> new kernel`; `idle`, `busy` and
            `unattributed` are what the level says nothing of.
        before_ns: Time before.
        after_ns: Time after.
        delta_ns: after_ns - before_ns.
        significant: Whether it is more than noise, corrected for the number of rows, and more than what all kernels moved by
            alike (`drift`); null with too few samples.
        interval_ns: 95 % interval of the difference of the samples' medians; null with too few samples.
        p: Corrected probability of such samples where nothing changed; null with too few.
        detectable_ns: The smallest change that these samples would show four times out of five; null where unknown.
        before_count: Activities, or idle gaps that it has a part in, of all windows before.
        after_count: The same after.
        status: `both`, `appeared` or `disappeared`.
        before_names: Kernels that it is of before, where their names differ from those after.
        after_names: The same after.
        matched_by: What makes them the same; empty except for renamed kernels.
    """

    key: str
    before_ns: int
    after_ns: int
    delta_ns: int
    significant: bool | None = None
    interval_ns: tuple[int, int] | None = None
    p: float | None = None
    detectable_ns: int | None = None
    before_count: int = 0
    after_count: int = 0
    status: Literal["both", "appeared", "disappeared"] = "both"
    before_names: list[str] = field(default_factory=list[str])
    after_names: list[str] = field(default_factory=list[str])
    matched_by: str = ""


class Levels(Struct, frozen=True, rename={"class_": "class"}):
    """The change by each level, the largest delta first.

    Attributes:
        class_: By class of kernels, and `idle`.
        cause: By cause of idle time, and `busy`.
        phase: By phase, idle time in it included.
        step: By step in the order of time, `decode[3]`, with what each takes of the time of one unit: of a mean step its part
            of the mean. Outside all steps by phase. Not judged where steps are the samples.
        module: By module, the layers of a model together; `idle`, and `unattributed` outside any module.
        op: By operator and shapes of its arguments; `idle`, and `unattributed` outside any operator.
        kernel: By kernel, renamed ones matched; `idle`.
    """

    class_: list[Row]
    cause: list[Row]
    phase: list[Row]
    step: list[Row]
    module: list[Row]
    op: list[Row]
    kernel: list[Row]


class Difference(Struct, frozen=True, kw_only=True):
    """Result of `mmprof diff`.

    Attributes:
        comparable: Whether the sides can be compared, and what differs.
        unit: What the times are of, each of one device: a `step`, the `window` of a trace, or a `trace` where they are the
            mean of several traces' windows.
        samples: What the samples are: the mean of a step in each `trace`, each `step`, or the one `window`.
        window: The part of the traces that was asked for; empty for all of them.
        before: The first side.
        after: The second side.
        total: The change as a whole.
        drift: What all kernels moved by alike between two recordings, as a share of their time, at most 2 % up or down; 0 where
            each side has recordings enough to be samples themselves, or nothing is judged. No row is called changed by it.
        surest: By level the keys of rows that are called changed, the least likely by chance first; ten at most.
        levels: The change by class, cause, phase, step, module, operator and kernel.
    """

    schema: str = SCHEMA
    comparable: Comparable
    unit: Sampled
    samples: Sampled
    window: str
    before: SideFacts
    after: SideFacts
    total: Total
    drift: float
    surest: dict[str, list[str]]
    levels: Levels


def diff_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `mmprof.diff/1`."""
    return struct_schema(Difference, SCHEMA)
