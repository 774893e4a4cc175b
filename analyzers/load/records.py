"""The shape of trace events as msgspec decodes them.

Nearly all events are `Clean`: decoded with their arguments in one step. Where one in a block has an argument of a type
that no exporter writes, the block is decoded again with `args` left as text, which is then read field by field.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, field

ABSENT: Final = Raw()
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


class Args(Struct, gc=False, frozen=True):
    """The arguments that analyses read of operators, calls, activities and synchronisation records."""

    correlation: Number = None
    sequence: Number = field(default=None, name="Sequence number")
    forward_thread: Number = field(default=None, name="Fwd thread id")
    dims: Raw = field(default=ABSENT, name="Input Dims")
    types: Raw = field(default=ABSENT, name="Input type")
    strides: Raw = field(default=ABSENT, name="Input Strides")
    concrete: Raw = field(default=ABSENT, name="Concrete Inputs")
    dims_2021: Raw = field(default=ABSENT, name="Input dims")
    kernel_backend: Raw = ABSENT
    kernel_kwargs: Raw = ABSENT
    stream: Number = None
    device: Number = None
    bytes: Number = None
    graph_node: Number = field(default=None, name="graph node id")
    occupancy: Number = field(default=None, name="est. achieved occupancy %")
    grid: Raw = ABSENT
    block: Raw = ABSENT
    collective: Number = field(default=None, name="Collective name")
    element_type: Number = field(default=None, name="dtype")
    in_elements: Number = field(default=None, name="In msg nelems")
    out_elements: Number = field(default=None, name="Out msg nelems")
    group_size: Number = field(default=None, name="Group size")
    wait_on_stream: Number = None
    wait_on_correlation: Number = field(default=None, name="wait_on_cuda_event_record_corr_id")


NO_ARGS: Final = Args()


class MemoryArgs(Struct, gc=False, frozen=True):
    """Arguments of a `[memory]` instant; negative bytes are a release."""

    address: Number = field(default=None, name="Addr")
    bytes: Number = field(default=None, name="Bytes")
    total_allocated: Number = field(default=None, name="Total Allocated")
    total_reserved: Number = field(default=None, name="Total Reserved")
    device_type: Number = field(default=None, name="Device Type")
    device: Number = field(default=None, name="Device Id")


class Clean(Struct, gc=False, tag_field="ph", tag="X"):
    """A complete event whose arguments all have the expected types: the form that nearly all events have."""

    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: Raw = ABSENT
    dur: Raw = ABSENT
    args: Args = NO_ARGS


CleanEvent = Clean | Instant | Metadata | FlowStart | FlowEnd | FlowStep | Counter
Entry = Event | Clean | Unread
