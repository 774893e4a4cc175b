"""What an annotated trace needs to know of each of its inputs: its tracks, and where it stands in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmprof.analyzers.analyze import Options, trace_files, views
from mmprof.analyzers.annotated.tracks import DeviceTracks, device_tracks
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    import polars as pl

    from mmprof.analyzers.trace import Trace

_UNPADDED_TIMES = "MM-N017"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One input of an annotated trace.

    Attributes:
        path: The file.
        rank: Rank of the process.
        devices: The tracks of each device.
        pids: Processes of the events, as text.
        device_pids: Those of them that stand for devices.
        first_ns: Start of the first event, on the file's clock.
        base_ns: Nanoseconds since 1970 at which the file's clock began; 0 where the file does not say.
        unpadded: Whether the file writes times without leading zeros of the decimals.
    """

    path: str
    rank: int
    devices: tuple[DeviceTracks, ...]
    pids: tuple[str, ...]
    device_pids: frozenset[str]
    first_ns: int
    base_ns: int
    unpadded: bool

    @property
    def window_start_ns(self) -> int:
        """Start of the first device window, on the file's clock; the first event where nothing ran."""
        starts = [d.start_ns for d in self.devices if d.start_ns is not None]
        return min(starts, default=self.first_ns)


def recorded(trace: Trace) -> Recorded:
    """The tracks of all devices of a trace, and its place in time."""
    base = trace.metadata.get("baseTimeNanoseconds")
    return Recorded(
        path=trace.facts.path,
        rank=trace.rank,
        devices=tuple(device_tracks(view) for view in views(trace, Options())),
        pids=tuple(trace.threads["pid"].unique().sort()),
        device_pids=frozenset(map(str, trace.activities["device"].unique())),
        first_ns=_first_ns(trace),
        base_ns=base if isinstance(base, int) else 0,
        unpadded=any(note.code == _UNPADDED_TIMES for note in trace.notes),
    )


def recorded_files(path: str) -> list[Recorded]:
    """The tracks of a file, or of each file in a folder; one trace is in memory at a time.

    Raises:
        MmprofError: A file cannot be read as a trace.
    """
    return [recorded(load(file)) for file in trace_files(path)]


def _first_ns(trace: Trace) -> int:
    """The first start; a time of 0 is one that the profiler lost, unless nothing is later."""
    starts = [_earliest(trace.host), _earliest(trace.activities), _earliest(trace.other)]
    return min((start for start in starts if start is not None), default=0)


def _earliest(events: pl.DataFrame) -> int | None:
    starts = events["start_ns"]
    later = starts.filter(starts > 0)
    found = (later if len(later) else starts).min()
    return found if isinstance(found, int) else None
