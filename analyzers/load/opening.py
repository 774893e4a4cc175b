"""One trace, from its name to its tables, or the error that says why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load.ahead import ReadAhead
from mmprof.analyzers.load.layout import JOINED_KEY
from mmprof.analyzers.load.read import (
    RawTrace,
    no_events_list,
    no_readable_event,
    no_trace,
    not_json,
    read,
)
from mmprof.analyzers.load.repair import UNREADABLE

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace


def load(
    name: str | Path, *, processes: int | None = None, ahead: ReadAhead | None = None
) -> Trace:
    """Load one trace.

    Args:
        name: Path of a `.json`, `.json.gz` or `.json.zst` file (recognised by content), or `-` for standard input.
        processes: Number of decoding processes besides this one; None decides by the size of the file.
        ahead: The same file, if its reading was started already.

    Raises:
        MmprofError: The input is missing, empty, not JSON, no trace, or holds no events.
    """
    # polars: reading must be able to start without it
    from mmprof.analyzers.load import tables  # noqa: PLC0415
    from mmprof.analyzers.load.beside import with_sidecar  # noqa: PLC0415

    raw = ahead.take() if ahead else read(str(name), processes=processes)
    if (joined := raw.metadata.get(JOINED_KEY)) is not None:
        raise _several_traces(raw.source.name, joined)
    try:
        built = tables.build(raw)
    except tables.UnevenDurationsError:
        built = tables.build(read(str(name), processes=processes, exact=True))
    trace = with_sidecar(built, str(name))
    if trace.host.is_empty() and trace.activities.is_empty():
        raise _no_events(raw, trace)
    return trace


def _several_traces(name: str, joined: object) -> MmprofError:
    labels = joined if isinstance(joined, list) else []
    return MmprofError(
        "MM-E010",
        f"{name} holds several traces: `mmprof export` made it to be looked at",
        found=", ".join(map(str, labels[:8])),
        hint="give the traces that it was made of",
    )


def _no_events(raw: RawTrace, trace: Trace) -> MmprofError:
    name, unreadable, untimed = (
        raw.source.name,
        raw.counts.get(UNREADABLE, 0),
        raw.counts.get("MM-N011", 0),
    )
    if raw.source.cut and not raw.events:
        return no_trace(raw.source, b"")
    if raw.is_array and not raw.valid and raw.events == unreadable:
        return not_json(name, "[", why="what follows cannot be read")
    if raw.is_array and raw.events == unreadable > 0:
        return no_events_list(name, [])
    if raw.events == unreadable + untimed > 0:
        return no_readable_event(
            name, f"{unreadable:,} entries that are no events, {untimed:,} events without a time"
        )
    counted = {**trace.kept_out, "other": len(trace.other), "memory": len(trace.memory)}
    found = (
        ", ".join(f"{n:,} {what}" for what, n in counted.items() if n)
        or raw.incomplete
        or "an empty list"
    )
    return MmprofError(
        "MM-E005",
        f"{name} is a trace without host or device events",
        found=f"{found} among {trace.facts.events:,} entries",
        hint="record with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], and let a step run inside the window",
    )
