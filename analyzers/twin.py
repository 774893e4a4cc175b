"""Operators for the kernels of graph replays, from a twin: a trace of the same work without graphs.

A replayed graph is one launch: its kernels have no operator, no module and no shapes. A trace of the same code with graphs
turned off has them, and runs the same kernels in the same order. The kernels of each replay are aligned with the twin's
(`twin_alignment`), and what was around the launch of a kernel's counterpart is borrowed: the host rows of operators, modules
and annotations are added to the trace once for each replay. Times stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.notes import Note, note
from mmprof.analyzers.trace import Trace
from mmprof.analyzers.twin_alignment import NOWHERE, Aligner, Placement, Replay
from mmprof.analyzers.twin_borrowing import borrowed
from mmprof.analyzers.twin_sequences import (
    Kernels,
    Order,
    Twin,
    Vocabulary,
    in_launch_order,
    normalized,
    replays,
    twin_kernels,
)
from mmprof.analyzers.units import format_share

# With less in common two traces are not of the same work, and what matches may do so by chance.
MIN_ALIGNED_SHARE: Final = 0.5
ORDERS: Final[tuple[Order, ...]] = ("node", "start", "stream")

_FOUND: Final = {"row": pl.UInt32, "twin_row": pl.UInt32, "same_call": pl.Boolean}


def load_twin(name: str) -> Twin:
    """The twin in a file.

    Raises:
        MmprofError: The file cannot be read, or no kernel in it has an operator or a module.
    """
    kernels = Kernels(load(name))
    twin = Twin(kernels)
    if not (~kernels.frame["replayed"] & (twin.codes["path"] > 0)).any():
        raise MmprofError(
            "MM-E042",
            f"the twin {name} has no operators to give",
            found=f"{kernels.frame.height:,} launched activities, {kernels.replayed.height:,} of them in graph replays, "
            "none with an operator or a module",
            hint="record the twin with graphs turned off, ProfilerActivity.CPU and CUDA, and record_shapes=True",
        )
    return twin


def with_twin(trace: Trace, twin: Twin) -> Trace:
    """The trace with the operators, modules and arguments that the twin has for kernels of graph replays.

    The table of activities gains `replayed` (whether a graph launch ran it) and `around` (the host row from which names
    around an activity are looked for). Aligned activities have `operator` and `around` among borrowed rows of the host
    table, which have no duration, stand on a thread of their own and are of kinds that count as nothing the host did.

    Raises:
        MmprofError: The trace replays no graph, or the twin is of other work.
    """
    kernels = Kernels(trace)
    if kernels.replayed.is_empty():
        raise _no_replays(trace, twin)
    words = Vocabulary.of(kernels, twin.kernels)
    found = pl.concat([pl.DataFrame(schema=_FOUND), *_aligned(kernels, twin, words)])
    _require_likeness(kernels, twin, found)
    return borrowed(kernels, twin, found).with_notes(_note(kernels, twin, found))


def _aligned(kernels: Kernels, twin: Twin, words: Vocabulary) -> Iterator[pl.DataFrame]:
    """For each device the aligned activities: `row`, `twin_row` and `same_call`."""
    for device in kernels.replayed["device"].unique().sort().to_list():
        source = twin.device_for(device)
        if source is not None:
            readings = _readings(kernels.on(device), twin, source, words)
            yield _found(max(readings, key=lambda reading: reading.count))


@dataclass(frozen=True)
class _Reading:
    """The replays of a device in one order, each with its placement where its whole sequence is in the twin.

    Attributes:
        rows: Row in `activities` of each kernel in this order.
        twin_rows: Row in the twin's `activities` of each place.
        aligner: What placed them.
        replays: The replays.
        placements: Of each; None where its sequence is not in the twin.
    """

    rows: pl.Series
    twin_rows: pl.Series
    aligner: Aligner
    replays: Sequence[Replay]
    placements: Sequence[Placement | None]

    @property
    def count(self) -> int:
        return sum(placement.aligned for placement in self.placements if placement)

    @property
    def complete(self) -> bool:
        return all(p is not None and NOWHERE not in p.places for p in self.placements)


def _readings(
    kernels: pl.DataFrame, twin: Twin, source: int, words: Vocabulary
) -> Iterator[_Reading]:
    """The kernels of a device in each order, until one order leaves nothing to align."""
    for order in ORDERS:
        ordered = in_launch_order(kernels, order)
        standing, twin_rows = twin_kernels(twin, source, order, words)
        aligner, found = Aligner(standing), list(replays(ordered, words))
        placements = [aligner.whole(replay) for replay in found]
        reading = _Reading(ordered["row"], twin_rows, aligner, found, placements)
        yield reading
        if reading.complete:
            return


def _found(reading: _Reading) -> pl.DataFrame:
    """The activities that are aligned; replays that are not in the twin as a whole by their runs."""
    at: list[int] = []
    places: list[int] = []
    same_call: list[bool] = []
    for replay, whole in zip(reading.replays, reading.placements, strict=True):
        placement = whole or reading.aligner.in_runs(replay)
        at += range(replay.start, replay.end)
        places += placement.places
        same_call += placement.same_call
    known = pl.DataFrame({"at": at, "place": places, "same_call": same_call}).filter(
        pl.col("place") != NOWHERE
    )
    return known.select(
        row=reading.rows.gather(known["at"]),
        twin_row=reading.twin_rows.gather(known["place"]),
        same_call="same_call",
    )


def _require_likeness(kernels: Kernels, twin: Twin, found: pl.DataFrame) -> None:
    replayed = kernels.replayed
    aligned = replayed.join(found, on="row", how="semi")
    total_ns, aligned_ns = _time_ns(replayed), _time_ns(aligned)
    if aligned_ns >= MIN_ALIGNED_SHARE * total_ns and aligned.height:
        return
    known = normalized(replayed["name"].cast(pl.String)).is_in(list(twin.kernels.names))
    raise MmprofError(
        "MM-E042",
        f"the twin {twin.kernels.trace.facts.path} is of other work",
        found=f"{aligned.height:,} of {replayed.height:,} kernels in graph replays "
        f"({format_share(aligned_ns, total_ns)} of their time) have a counterpart; "
        f"{int((~known).sum()):,} have a name that no kernel of the twin has",
        hint="record the same model, input, data type and device with graphs turned off",
    )


def _no_replays(trace: Trace, twin: Twin) -> MmprofError:
    swapped = not twin.kernels.replayed.is_empty()
    return MmprofError(
        "MM-E042",
        f"{trace.facts.path} replays no graph: it has nothing to take from a twin",
        found=f"{trace.activities.height:,} activities, none launched by a graph launch",
        hint="give the trace with the graphs first and the one without after --twin"
        if swapped
        else "leave out --twin",
    )


def _note(kernels: Kernels, twin: Twin, found: pl.DataFrame) -> Note:
    aligned = kernels.replayed.join(found, on="row", how="semi")
    return note(
        "MM-N025",
        name=twin.kernels.trace.facts.path,
        aligned=f"{aligned.height:,}",
        all=f"{kernels.replayed.height:,}",
        share=format_share(_time_ns(aligned), _time_ns(kernels.replayed)),
    )


def _time_ns(activities: pl.DataFrame) -> int:
    return int((activities["end_ns"] - activities["start_ns"]).sum())
