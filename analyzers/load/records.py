"""The shape of trace events as msgspec decodes them.

Nearly all events are `Clean`: decoded with their arguments in one step, as the class of their category. Where a block has an
event of another form, it is decoded again with times and `args` left as text, which is then read field by field.
"""

from __future__ import annotations

from math import nan
from typing import Any, Final, Literal, Union, cast

from msgspec import Raw, Struct, defstruct, field

from mmprof.analyzers.load import categories as c

ABSENT: Final = Raw()
NULL: Final = -(2**63)
NO_TIME: Final = Raw(b"0")

# Exporters write the same argument as a number or as text ("0x0", "inf"); what is not a whole number becomes null.
Number = int | float | str | None


class Complete(Struct, gc=False, tag_field="ph", tag="X"):
    """A complete event. Times stay text: float64 loses the nanoseconds of 16-digit microseconds (2024-03 to 2024-04)."""

    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: Raw = ABSENT
    dur: Raw = ABSENT
    args: Raw = ABSENT


class Instant(Struct, gc=False, tag_field="ph", tag="i"):
    """An instant: `[memory]` events, iteration marks."""

    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: Raw = ABSENT
    dur: Raw = NO_TIME
    args: Raw = ABSENT


class Label(Struct, gc=False, frozen=True):
    """The arguments of a metadata event."""

    name: str | None = None
    labels: str | None = None


class Metadata(Struct, gc=False, tag_field="ph", tag="M"):
    """A metadata event: names and labels of processes and threads."""

    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    args: Label = Label()


class FlowStart(Struct, gc=False, tag_field="ph", tag="s"):
    """A flow's start; flows are not used for linking: many have no start."""


class FlowEnd(Struct, gc=False, tag_field="ph", tag="f"):
    """A flow's end."""


class FlowStep(Struct, gc=False, tag_field="ph", tag="t"):
    """A flow's step."""


class Counter(Struct, gc=False, tag_field="ph", tag="C"):
    """A counter sample: counted, not analyzed."""


class Unread(Struct, gc=False, frozen=True):
    """The place of an entry that is no readable event, with the code of the note that tells of it."""

    code: str


Event = Complete | Instant | Metadata | FlowStart | FlowEnd | FlowStep | Counter


class OperatorArgs(Struct, gc=False, frozen=True):
    """The arguments that analyses read of operators, in the order in which libkineto writes them."""

    sequence: Number = field(default=NULL, name="Sequence number")
    forward_thread: Number = field(default=NULL, name="Fwd thread id")
    kernel_backend: Raw = ABSENT
    kernel_kwargs: Raw = ABSENT
    concrete: Raw = field(default=ABSENT, name="Concrete Inputs")
    types: Raw = field(default=ABSENT, name="Input type")
    strides: Raw = field(default=ABSENT, name="Input Strides")
    dims: Raw = field(default=ABSENT, name="Input Dims")
    dims_2021: Raw = field(default=ABSENT, name="Input dims")


class LaunchArgs(Struct, gc=False, frozen=True):
    """The arguments that analyses read of runtime and driver calls."""

    correlation: Number = NULL


class ActivityArgs(Struct, gc=False, frozen=True):
    """The arguments that analyses read of kernels, copies and memsets."""

    device: Number = NULL
    stream: Number = NULL
    correlation: Number = NULL
    bytes: Number = NULL
    graph_node: Number = field(default=NULL, name="graph node id")
    grid: Raw = ABSENT
    block: Raw = ABSENT
    occupancy: Number = field(default=NULL, name="est. achieved occupancy %")
    collective: Number = field(default=None, name="Collective name")
    element_type: Number = field(default=None, name="dtype")
    in_elements: Number = field(default=None, name="In msg nelems")
    out_elements: Number = field(default=None, name="Out msg nelems")
    group_size: Number = field(default=None, name="Group size")


class SyncArgs(Struct, gc=False, frozen=True):
    """The arguments that analyses read of synchronisation records."""

    stream: Number = NULL
    correlation: Number = NULL
    device: Number = NULL
    wait_on_stream: Number = NULL
    wait_on_correlation: Number = field(default=NULL, name="wait_on_cuda_event_record_corr_id")


class MemoryArgs(Struct, gc=False, frozen=True):
    """Arguments of a `[memory]` instant; negative bytes are a release."""

    address: Number = field(default=NULL, name="Addr")
    bytes: Number = field(default=NULL, name="Bytes")
    total_allocated: Number = field(default=NULL, name="Total Allocated")
    total_reserved: Number = field(default=NULL, name="Total Reserved")
    device_type: Number = field(default=NULL, name="Device Type")
    device: Number = field(default=NULL, name="Device Id")


# Of the other kinds no argument is read. Each class has few fields: looking up a key costs as much as decoding a value.
ARGS_OF_KIND: Final[dict[str, type[Struct]]] = {
    c.OPERATOR: OperatorArgs,
    c.RUNTIME: LaunchArgs,
    c.DRIVER: LaunchArgs,
    c.KERNEL: ActivityArgs,
    c.MEMCPY: ActivityArgs,
    c.MEMSET: ActivityArgs,
    c.DEVICE_ANNOTATION: ActivityArgs,
    c.SYNC: SyncArgs,
}


class Clean(Struct, gc=False):
    """A complete event whose fields all have the expected types; its class tells its category.

    `dur` is a float64, which holds nanoseconds exactly up to days; NaN where the event has none.
    """

    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: Raw = ABSENT
    dur: float = nan


class CleanMemory(Clean, gc=False, tag_field="cat", tag="cpu_instant_event", kw_only=True):
    """A `[memory]` instant, as libkineto writes it."""

    ph: Literal["i"]
    name: Literal["[memory]"]
    dur: float = 0.0
    args: MemoryArgs = MemoryArgs()


class CleanFlow(Struct, gc=False):
    """A flow's start or end."""


def _clean_class(category: str) -> type[Clean]:
    args = ARGS_OF_KIND.get(c.kind_of(category))
    made = defstruct(
        f"Clean_{category}",
        [("ph", Literal["X"]), *([("args", args, args())] if args else [])],
        bases=(Clean,),
        tag_field="cat",
        tag=category,
        gc=False,
        kw_only=True,
    )
    return cast("type[Clean]", made)


def _flow_class(category: str) -> type[Struct]:
    return defstruct(
        f"Flow_{category}",
        [("ph", Literal["s", "f"])],
        bases=(CleanFlow,),
        tag_field="cat",
        tag=category,
        gc=False,
    )


CLEAN_CATEGORIES: Final[dict[type[Struct], str]] = {
    CleanMemory: "cpu_instant_event",
    **{_clean_class(name): name for name, kind in c.KIND_OF_CATEGORY.items() if kind != c.MEMORY},
}
CLEAN_EVENTS: Final[Any] = list[  # type: ignore[misc]
    Union[(*CLEAN_CATEGORIES, *map(_flow_class, c.FLOW_CATEGORIES))]
]

Entry = Event | Unread
