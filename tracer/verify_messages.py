"""What the parent and a trial process tell each other: one JSON document a line."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from mmprof.analyzers.sidecar import Argument
from mmprof.tracer.lever import Exactness
from mmprof.tracer.order import Wish
from mmprof.tracer.verify_results import Clock, OutputCheck


class Prepare(Struct, frozen=True, tag=True):
    """Build a workload, apply levers, warm up.

    Attributes:
        family: Name of a family; empty for another target.
        target: `module:function`; empty for another.
        folder: A model's folder; empty for another.
        wish: What is asked of it.
        device: A torch device; empty for the default.
        levers: Names of levers, applied in this order.
        threads: Threads of one operator; 0 for torch's default.
    """

    family: str
    target: str
    folder: str
    wish: Wish
    device: str
    levers: list[str]
    threads: int


class Measure(Struct, frozen=True, tag=True):
    """Time some requests that follow each other.

    Attributes:
        calls: How many.
    """

    calls: int


class KeepReference(Struct, frozen=True, tag=True):
    """Run twice, compare, and write the outputs to a file.

    Attributes:
        path: The file.
        draws: Whether to run under other seeds as well: a lever promises the distribution of the outputs.
    """

    path: str
    draws: bool = False


class Compare(Struct, frozen=True, tag=True):
    """Compare the outputs with those of a file.

    Attributes:
        path: The file.
        exactness: What they promise.
        budget: The largest relative error of lossy ones.
    """

    path: str
    exactness: Exactness
    budget: float


class FindPeak(Struct, frozen=True, tag=True):
    """Measure the peak of memory during a request."""


class Profile(Struct, frozen=True, tag=True):
    """Record a request.

    Attributes:
        path: Where its trace goes.
    """

    path: str


class Examine(Struct, frozen=True, tag=True):
    """Say which levers do not apply, and what code the workload and they are of.

    Attributes:
        levers: Names of levers; none of them is applied.
    """

    levers: list[str]


class Record(Struct, frozen=True, tag=True):
    """Record a request as `mmprof trace` does, with modules, un-profiled times and what the machine reaches.

    Attributes:
        path: Where its trace goes; an older one is replaced.
    """

    path: str


class Prepared(Struct, frozen=True, tag=True):
    """The workload is ready.

    Attributes:
        name: Of the workload.
        arguments: What it runs.
        device: Where it runs.
        device_name: As the driver or the operating system gives it.
        clock: What requests are timed with.
        threads: Threads of one operator.
        versions: Of everything that decides what runs.
        apply_s: Seconds that applying the levers took, on the host's clock.
        warmup_s: Seconds of each run so far, on the host's clock.
    """

    name: str
    arguments: dict[str, Argument]
    device: str
    device_name: str
    clock: Clock
    threads: int
    versions: dict[str, str]
    apply_s: float
    warmup_s: list[float]


class Timed(Struct, frozen=True, tag=True):
    """How long requests took.

    Attributes:
        seconds: Of all of them.
    """

    seconds: float


class Kept(Struct, frozen=True, tag=True):
    """The outputs are written.

    Attributes:
        deterministic: Whether two runs gave equal bits.
    """

    deterministic: bool


class Compared(Struct, frozen=True, tag=True):
    """How the outputs compare.

    Attributes:
        check: In numbers and words.
    """

    check: OutputCheck


class Peak(Struct, frozen=True, tag=True):
    """The peak of memory.

    Attributes:
        bytes: None where the system does not say.
    """

    bytes: int | None


class Profiled(Struct, frozen=True, tag=True):
    """A trace was written."""


class Examined(Struct, frozen=True, tag=True):
    """What levers and workload are.

    Attributes:
        inapplicable: Why levers do not apply, by their names.
        code: Digest of the user's own code that was loaded.
    """

    inapplicable: dict[str, str]
    code: str


class Recorded(Struct, frozen=True, tag=True):
    """A trace and its sidecar were written."""


class Inapplicable(Struct, frozen=True, tag=True):
    """A lever does not apply.

    Attributes:
        lever: Its id.
        reason: Why.
    """

    lever: str
    reason: str


class Raised(Struct, frozen=True, tag=True):
    """Something was raised.

    Attributes:
        reason: Type and message.
        code: Code of the error where mmprof raised it for the user; empty otherwise.
        found: What that error found.
        hint: What it suggests.
    """

    reason: str
    code: str = ""
    found: str = ""
    hint: str = ""


Request: TypeAlias = (
    Prepare | Measure | KeepReference | Compare | FindPeak | Profile | Examine | Record
)
Reply: TypeAlias = (
    Prepared
    | Timed
    | Kept
    | Compared
    | Peak
    | Profiled
    | Examined
    | Recorded
    | Inapplicable
    | Raised
)
