"""The trace as tables: what every analysis reads.

All times are int64 nanoseconds on the clock of the trace. `event` is the position of an event in the file's
`traceEvents`, so that each number leads back to the events behind it. `name` columns are enums over all names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mmprof.analyzers.load.categories import OPERATOR
from mmprof.analyzers.notes import Note

if TYPE_CHECKING:
    from mmprof.analyzers.sidecar import Sidecar

# Host rows that stand for a twin's (`twin.py`): what was around the launch of a kernel that a graph replays here.
BORROWED_OPERATOR: Final = "borrowed operator"
BORROWED_NAME: Final = "borrowed name"
BORROWED_KINDS: Final = (BORROWED_OPERATOR, BORROWED_NAME)
OPERATOR_KINDS: Final = (OPERATOR, BORROWED_OPERATOR)

HOST_COLUMNS: Final = {
    "row": "position in this table, the value of every `parent`, `launch` and `operator` column",
    "event": "position in traceEvents",
    "kind": "operator, annotation, python, runtime or driver",
    "name": "name",
    "thread": "code of the thread, see table threads",
    "start_ns": "start",
    "end_ns": "end, cut at the parent's end where events cross",
    "dur_ns": "duration as recorded",
    "parent": "row of the innermost event around this one on its thread",
    "correlation": "correlation id of a runtime or driver call",
    "sequence": "autograd sequence number",
    "forward_thread": "autograd forward thread",
    "call": "code of the operator's arguments, see table calls",
}
ACTIVITY_COLUMNS: Final = {
    "row": "position in this table",
    "event": "position in traceEvents",
    "kind": "kernel, memcpy or memset",
    "name": "name",
    "device": "device index",
    "stream": "stream",
    "start_ns": "start",
    "end_ns": "end",
    "launch": "row of the launch in table host, null if it is not in the trace",
    "operator": "row of the innermost operator around the launch",
    "carry_in": "launched before the recorded window",
    "bytes": "bytes of a copy or memset",
    "graph_node": "node of the graph, 0 or null outside graphs",
    "occupancy_percent": "estimated achieved occupancy",
    "grid": "grid as JSON",
    "block": "block as JSON",
    "collective": "collective that a communication kernel runs",
    "element_type": "data type of the collective",
    "in_elements": "elements sent",
    "out_elements": "elements received",
    "group_size": "ranks in the collective",
}


@dataclass(frozen=True, slots=True)
class InputFacts:
    """The file behind a trace."""

    path: str
    sha256: str
    bytes: int
    events: int


@dataclass(frozen=True, slots=True)
class Trace:
    """One rank's trace.

    Attributes:
        facts: The input.
        metadata: Everything in the document beside the events, as it was written.
        rank: Rank of the process, 0 if the trace does not say.
        notes: What loading repaired, left out or assumed.
        host: Host events, by thread and time (`HOST_COLUMNS`).
        activities: Kernels, copies and memsets, by device and start (`ACTIVITY_COLUMNS`).
        device_annotations: `gpu_user_annotation` spans: name, device, stream, start_ns, end_ns.
        syncs: Synchronisation records: name, device, stream, start_ns, end_ns, correlation, wait_on_stream,
            wait_on_correlation.
        memory: `[memory]` events: start_ns, bytes, address, total_allocated, total_reserved, device_type, device, thread.
        other: Events of other categories: category, name, thread, start_ns, end_ns.
        threads: thread, pid, tid, name.
        calls: call, dims, types, strides, concrete, kernel_backend, kernel_kwargs (JSON text).
        sidecar: What the tracer wrote beside the trace; None for traces of others.
    """

    facts: InputFacts
    metadata: dict[str, Any]
    rank: int
    notes: tuple[Note, ...]
    host: pl.DataFrame
    activities: pl.DataFrame
    device_annotations: pl.DataFrame
    syncs: pl.DataFrame
    memory: pl.DataFrame
    other: pl.DataFrame
    threads: pl.DataFrame
    calls: pl.DataFrame
    kept_out: dict[str, int] = field(default_factory=dict)
    sidecar: Sidecar | None = None

    def with_notes(self, *more: Note) -> Trace:
        """The trace with further notes."""
        return replace(self, notes=self.notes + more)

    def device_properties(self, device: int) -> dict[str, Any]:
        """The driver's description of a device, as far as the trace has it."""
        entries = self.metadata.get("deviceProperties")
        listed = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
        return next(
            (e for e in listed if e.get("id") == device), listed[0] if len(listed) == 1 else {}
        )
