"""What the tracer wrote beside a trace: the sidecar, and what it has to say of the recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.notes import Note, note
from mmprof.analyzers.sidecar import Sidecar, read_sidecar, sidecar_path

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

STANDARD_INPUT = "-"


def with_sidecar(trace: Trace, name: str) -> Trace:
    """The trace with its sidecar, if it has one; a damaged one is a note, since the trace is complete without it."""
    if name == STANDARD_INPUT:
        return trace
    try:
        found = read_sidecar(name)
    except MmprofError as error:
        return trace.with_notes(
            note("MM-N026", name=sidecar_path(name).name, reason=error.found or error.message)
        )
    return trace if found is None else replace(trace.with_notes(*_notes(found)), sidecar=found)


def _notes(sidecar: Sidecar) -> Iterator[Note]:
    if sidecar.error is not None:
        yield note("MM-N028", error=f"{sidecar.error.type}: {sidecar.error.message}".strip(": "))
    yield from (note("MM-N027", text=text) for text in sidecar.notes)
