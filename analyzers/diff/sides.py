"""One side of a diff: one trace or several, cut into pieces that can be summed by any level and by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from mmprof.analyzers.analyze import Options, device_name, trace_files, views
from mmprof.analyzers.diff.facts import Recording, Work, recording, work
from mmprof.analyzers.diff.pieces import pieces
from mmprof.analyzers.diff.source import Source
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.load.ahead import ReadAhead
from mmprof.analyzers.notes import Note
from mmprof.analyzers.trace import InputFacts, Trace

LEAST_COVERAGE = 0.8
"""Share of a window that its steps must hold: else a time per step would be mostly something else."""


@dataclass(frozen=True)
class DeviceWindow:
    """One device of one trace.

    Attributes:
        run: Which recording of the work it is: traces of one side that say the same rank are recordings of their own.
        rank: Rank of the trace.
        device: Device index.
        device_name: Its name; empty where nobody knows it.
        window_ns: Its window, to which its pieces sum.
        steps: Steps that launched activities.
        steps_ns: Time in them.
        pieces: `pieces.SCHEMA`.
        work: What it did.
    """

    run: int
    rank: int
    device: int
    device_name: str
    window_ns: int
    steps: int
    steps_ns: int
    pieces: pl.DataFrame
    work: Work

    @property
    def has_steps(self) -> bool:
        """Whether a time per step says something of this window."""
        return self.steps > 1 and self.steps_ns >= LEAST_COVERAGE * self.window_ns


@dataclass(frozen=True)
class Side:
    """One side, read.

    Attributes:
        source: What the user named.
        inputs: The files.
        notes: What loading had to assume, each once.
        recordings: One an input.
        windows: The devices of all inputs.
    """

    source: Source
    inputs: tuple[InputFacts, ...]
    notes: tuple[Note, ...]
    recordings: tuple[Recording, ...]
    windows: tuple[DeviceWindow, ...]

    @property
    def runs(self) -> int:
        """How often the work was recorded."""
        return len({w.run for w in self.windows})

    @property
    def steps(self) -> int:
        """Steps of all windows."""
        return sum(w.steps for w in self.windows)

    @property
    def has_steps(self) -> bool:
        """Whether a time per step says something of every window."""
        return all(w.has_steps for w in self.windows)


def read_side(source: Source, options: Options, *, ahead: ReadAhead | None = None) -> Side:
    """Read a side, one trace in memory at a time.

    Args:
        source: What to read.
        options: Rank, device and window to compare.
        ahead: The first file, if its reading was started already.

    Raises:
        MmprofError: An input cannot be read, or nothing of it matches the options.
    """
    inputs: list[InputFacts] = []
    notes: dict[Note, None] = {}
    recordings: list[Recording] = []
    windows: list[DeviceWindow] = []
    seen: Counter[int] = Counter()
    for trace in _traces(source.paths, ahead):
        inputs.append(trace.facts)
        notes |= dict.fromkeys(trace.notes)
        recordings.append(recording(trace))
        windows += _windows(trace, options, run=seen[trace.rank])
        seen[trace.rank] += 1
        del trace  # or it would be kept while the next one is loaded
    if not windows:
        raise _nothing(source, options)
    return Side(source, tuple(inputs), tuple(notes), tuple(recordings), tuple(windows))


def _traces(paths: Sequence[str], ahead: ReadAhead | None) -> Iterator[Trace]:
    for file in (f for path in paths for f in trace_files(path)):
        yield load(file, ahead=ahead if ahead and ahead.name == file else None)


def _windows(trace: Trace, options: Options, *, run: int) -> Iterator[DeviceWindow]:
    if options.rank not in (None, trace.rank):
        return
    for view in views(trace, options):
        parts = pieces(view)
        in_steps = parts.filter(pl.col("step").is_not_null())
        yield DeviceWindow(
            run=run,
            rank=trace.rank,
            device=view.device,
            device_name=device_name(view),
            window_ns=view.window_ns,
            steps=in_steps["step"].n_unique(),
            steps_ns=int(in_steps["time_ns"].sum()),
            pieces=parts,
            work=work(view, parts),
        )


def _nothing(source: Source, options: Options) -> MmprofError:
    wanted = [("rank", options.rank), ("device", options.device)]
    return MmprofError(
        "MM-E022",
        f"nothing in {source.name} matches the selection",
        found=", ".join(f"{what} {which}" for what, which in wanted if which is not None),
        hint="leave out --rank and --device to see what there is",
    )
