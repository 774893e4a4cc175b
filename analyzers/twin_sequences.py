"""The kernels of a trace as sequences that can be compared with another trace's.

A graph runs its kernels in an order that the launches of the twin need not have: branches of a graph run side by side. So
the kernels of a replay are read in three orders, and the one that most kernels are aligned in is used: by graph node, by
start, and by start on each stream.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.lineage import lineage
from mmprof.analyzers.twin_alignment import Replay, TwinKernels

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

Order = Literal["node", "start", "stream"]

_GRAPH_LAUNCH: Final = "GraphLaunch"
# ROCm's names of kernels are those of code objects in some versions.
_SYMBOL_SUFFIX: Final = r"(?: \[clone \.kd\]|\.kd)$"
_ONLY_HERE: Final = "\x01"
_NO_KERNEL: Final = "\x02"
_FIRST_SHARED: Final = 0x100
_MOST_SHARED: Final = 0xD000 - _FIRST_SHARED  # below the surrogates


@dataclass(frozen=True)
class Kernels:
    """The launched activities of one trace.

    Attributes:
        trace: The trace.
    """

    trace: Trace

    @cached_property
    def work(self) -> HostWork:
        """What the host did."""
        return HostWork(self.trace)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The activities with a launch, by device and start.

        Columns of `ACTIVITY_COLUMNS`, `called_ns` (start of the launch) and `replayed` (whether a graph launch ran it).
        """
        host = self.trace.host
        linked = self.trace.activities.filter(pl.col("launch").is_not_null() & ~pl.col("carry_in"))
        calls = pl.Series(host.schema["name"].categories).str.contains(_GRAPH_LAUNCH, literal=True)  # type: ignore[attr-defined]
        by_name = calls.gather(host["name"].gather(linked["launch"]).to_physical())
        return linked.with_columns(
            called_ns=host["start_ns"].gather(linked["launch"]),
            replayed=by_name | (pl.col("graph_node") > 0).fill_null(value=False),
        )

    @cached_property
    def replayed(self) -> pl.DataFrame:
        """The activities that a graph launch ran."""
        return self.frame.filter("replayed")

    def on(self, device: int) -> pl.DataFrame:
        """The activities of one device."""
        return self.frame.filter(pl.col("device") == device)

    @property
    def names(self) -> set[str]:
        """The different names of kernels."""
        return set(normalized(self.frame["name"].unique().cast(pl.String)).to_list())


@dataclass(frozen=True)
class Twin:
    """A trace whose launches have operators: what its kernels were launched for.

    Attributes:
        kernels: Its kernels.
    """

    kernels: Kernels

    @cached_property
    def codes(self) -> pl.DataFrame:
        """For each row of `kernels.frame` `path` and `chain`: numbers of the names and of the arguments around its launch."""
        frame = self.kernels.frame
        found = lineage(self.kernels.work, frame["launch"])
        known: dict[object, int] = {((), ()): 0}
        number = {
            code: known.setdefault((path.operators, path.modules), len(known))
            for code, path in found.paths.items()
        }
        path = found.code.cast(pl.Int64).replace_strict(number, return_dtype=pl.UInt32)
        return pl.DataFrame({"path": path, "chain": self._chains(frame["operator"])})

    def _chains(self, operators: pl.Series) -> pl.Series:
        """The arguments of each operator and of those around it, numbered."""
        host, above = self.kernels.trace.host, self.kernels.work.above_operator
        chain = pl.Series([0], dtype=pl.UInt32).new_from_index(0, len(operators))
        row = operators
        while row.null_count() < len(row):
            step = pl.DataFrame({"chain": chain, "call": host["call"].gather(row)})
            distinct = step.unique(maintain_order=True).with_row_index("next")
            chain = step.join(
                distinct, on=["chain", "call"], how="left", nulls_equal=True, maintain_order="left"
            )["next"]
            row = above.gather(row)
        return chain

    def device_for(self, device: int) -> int | None:
        """The device whose kernels stand for another trace's: the same, or the only one."""
        present = self.kernels.frame["device"].unique().to_list()
        if device in present:
            return device
        return int(present[0]) if len(present) == 1 else None


@dataclass(frozen=True)
class Vocabulary:
    """Characters for the names and numbers for the launch shapes that two traces share.

    Attributes:
        characters: Of each name in both traces.
        shapes: Of each grid and block; numbers go on where a shape is met first.
    """

    characters: Mapping[str, str]
    shapes: dict[tuple[str | None, str | None], int]

    @classmethod
    def of(cls, left: Kernels, right: Kernels) -> Vocabulary:
        """The vocabulary of two traces."""
        shared = sorted(left.names & right.names)[:_MOST_SHARED]
        characters = {name: chr(_FIRST_SHARED + i) for i, name in enumerate(shared)}
        return cls(characters, {(None, None): 0, ("", ""): 0})

    def text(self, ordered: pl.DataFrame, otherwise: str) -> str:
        """One character a kernel; `otherwise` for names that only one trace has."""
        known = normalized(pl.Series(ordered.schema["name"].categories))  # type: ignore[attr-defined]
        characters = [*(self.characters.get(name, otherwise) for name in known), otherwise]
        codes = ordered["name"].to_physical().fill_null(len(known)).to_list()
        return "".join([characters[code] for code in codes])

    def numbers(self, ordered: pl.DataFrame) -> array[int]:
        """The number of each kernel's launch shape, 0 where it is not known."""
        known = self.shapes
        pairs = ordered.select("grid", "block").iter_rows()
        return array("I", [known.setdefault(pair, len(known)) for pair in pairs])


def normalized(names: pl.Series) -> pl.Series:
    """Names of kernels without what only some versions of the profiler add."""
    return names.str.replace(_SYMBOL_SUFFIX, "").str.strip_chars()


def in_launch_order(kernels: pl.DataFrame, order: Order) -> pl.DataFrame:
    """Activities of one device by launch, those of a graph launch in the given order, with `lane`."""
    lane = pl.col("stream") if order == "stream" else pl.lit(0, pl.Int64)
    position = pl.col("graph_node").fill_null(0) if order == "node" else pl.col("start_ns")
    return kernels.with_columns(lane=lane, position=position).sort(
        "lane", "called_ns", "launch", "position", "start_ns", "row"
    )


def replays(ordered: pl.DataFrame, words: Vocabulary) -> Iterator[Replay]:
    """The replays of graphs among activities in launch order; one for each stream where they are in such lanes."""
    names, shapes = words.text(ordered, _ONLY_HERE), words.numbers(ordered)
    spans = (
        ordered.with_row_index("at")
        .filter("replayed")
        .group_by("lane", "launch", maintain_order=True)
        .agg(start=pl.col("at").min(), end=pl.col("at").max() + 1)
    )
    for start, end in spans.select("start", "end").iter_rows():
        yield Replay(names, shapes, start, end)


def twin_kernels(
    twin: Twin, device: int, order: Order, words: Vocabulary
) -> tuple[TwinKernels, pl.Series]:
    """The twin's kernels on a device to align with, and the row of `activities` of each, null for none.

    Kernels of graphs in the twin have no operators: nothing is aligned with them, nor across the end of a stream.
    """
    coded = pl.concat([twin.kernels.frame, twin.codes], how="horizontal")
    ordered = in_launch_order(coded.filter(pl.col("device") == device), order)
    parts = ordered.partition_by("lane", maintain_order=True)
    ended = pl.concat([part for lane in parts for part in (lane, lane.clear(1))])
    usable = (~ended["replayed"]).fill_null(value=False)
    text = words.text(ended.with_columns(pl.when(usable).then("name")), _NO_KERNEL)
    kernels = TwinKernels(
        names=text,
        paths=array("I", ended["path"].fill_null(0).to_list()),
        calls=array("I", ended["chain"].fill_null(0).to_list()),
        shapes=words.numbers(ended),
    )
    return kernels, ended["row"]
