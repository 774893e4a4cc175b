"""What the host threads did: launches, working operators, and the state of a thread at any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals, nesting
from mmprof.analyzers.cpu_operators import CALLS_LIBRARY, DESCRIBES, MOVES_DATA, WORKS
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.trace import BORROWED_KINDS, OPERATOR_KINDS

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

MODULE_PREFIX: Final = "nn.Module: "

# The states of a thread that explain why it did not launch, the one that decides first (design: idle causes).
STATES: Final = ("sync", "allocator", "runtime", "compile", "dataloader", "profiler", "dispatch")

_STATE: Final = pl.Enum(STATES)
_BLOCKING_CALL: Final = (
    r"Synchronize|^(?:cuda|hip)Memcpy(?:2D|3D|ToSymbol|FromSymbol|Peer)?(?:_ptds)?$|^hipMemcpyWithStream$"
    r"|^cuMemcpy(?:DtoH|HtoD|DtoD)?(?:_v2)?$|^zeEventHostSynchronize|^ur(?:QueueFinish|EventWait)"
)
_ALLOCATOR_CALL: Final = (
    r"Malloc|Free(?:Async|Host)?(?:_v2)?$|HostAlloc|HostRegister|HostUnregister|Mem(?:Create|Map|Unmap|Release|SetAccess)"
    r"|MemAddress|^cuMemAlloc|^cuMemFree|^urUSM\w*Alloc"
)
_SYNC_OPERATORS: Final = ("aten::item", "aten::_local_scalar_dense", "aten::is_nonzero")
# Functions that compile, not those that run what is compiled: Inductor and Triton have both in the same files.
_COMPILE_REGION: Final = (
    r"torch/_dynamo/(?:convert_frame|output_graph|symbolic_convert)\.py"
    r"|torch/_inductor/[\w/]+\.py\(\d+\): \w*(?:compile|codegen|benchmark|autotune)\w*"
    r"|triton/compiler/compiler\.py\(\d+\): (?:compile|make_)"
    r"|triton/runtime/(?:jit|autotuner)\.py\(\d+\): \w*(?:compile|bench)\w*"
    r"|^_compile\.compile_inner|^compile_fx|^OutputGraph\.|^GraphLowering\.|^async_compile"
    r"|^dynamo$|^entire_frame_compile|\(dynamo_timed\)$"
)
_LOADER_REGION: Final = (
    r"^enumerate\(DataLoader\)|torch/utils/data/dataloader\.py\(\d+\): (?:__next__|_next_data)"
)


@dataclass(frozen=True)
class HostWork:
    """Derived facts about the host events of a trace, each computed once."""

    trace: Trace
    _unions: dict[int, tuple[tuple[str, pl.DataFrame], ...]] = field(default_factory=dict)

    @cached_property
    def main_thread(self) -> int:
        """The thread with the most time in operators; annotations alone make no thread the main one."""
        outermost = self.trace.host.filter(self.is_operator & self.above_operator.is_null())
        if outermost.is_empty():
            return 0
        time = (
            outermost.group_by("thread")
            .agg(pl.col("dur_ns").sum())
            .sort("dur_ns", "thread", descending=[True, False])
        )
        return int(time["thread"][0])

    @cached_property
    def is_operator(self) -> pl.Series:
        """Whether each host row is an operator."""
        return self.trace.host["kind"] == c.OPERATOR

    @cached_property
    def above_operator(self) -> pl.Series:
        """For each host row the nearest operator above it, a borrowed one for borrowed rows."""
        operator = self.trace.host["kind"].is_in(OPERATOR_KINDS)
        return nesting.above(self.trace.host["parent"], operator)

    @cached_property
    def named(self) -> pl.Series:
        """Whether each host row is one that a path is made of: an operator, an annotation or a module."""
        host = self.trace.host
        is_module = host["name"].cast(pl.String).str.starts_with(MODULE_PREFIX)
        return (
            self.is_operator
            | (host["kind"] == c.ANNOTATION)
            | ((host["kind"] == c.PYTHON) & is_module)
            | host["kind"].is_in(BORROWED_KINDS)
        )

    @cached_property
    def above_named(self) -> pl.Series:
        """For each host row the nearest row of a path above it."""
        return nesting.above(self.trace.host["parent"], self.named)

    @cached_property
    def working_operators(self) -> pl.DataFrame:
        """The outermost operators of the main thread that do work of their own, as activities."""
        host, works = self.trace.host, self._works
        is_outermost = works & nesting.above(host["parent"], works).is_null()
        leaves = host.filter(is_outermost & (host["thread"] == self.main_thread))
        return leaves.select(
            "event",
            "name",
            "start_ns",
            "end_ns",
            "thread",
            "call",
            kind=pl.lit(c.OPERATOR),
            stream=pl.lit(0, pl.Int64),
            launch="row",
            operator="row",
            operator_name=pl.col("name"),
            launch_start_ns="start_ns",
            launch_end_ns="start_ns",
            carry_in=pl.lit(value=False),
            bytes=pl.lit(None, pl.Int64),
            graph_node=pl.lit(None, pl.Int64),
            occupancy_percent=pl.lit(None, pl.Int64),
            collective=pl.lit(""),
        ).with_row_index("row")

    @cached_property
    def _works(self) -> pl.Series:
        """Whether each host row is an operator that works itself: by its name, or because nothing inside it works."""
        other = self.is_operator & ~self._is_named(DESCRIBES)
        works = (self.is_operator & self._is_named(WORKS)) | (other & ~self._is_around(other))
        calls = other & self._is_named(CALLS_LIBRARY)
        if calls.any():
            works |= calls & ~self._is_around(other & ~self._is_named(MOVES_DATA))
        return works

    def _is_named(self, names: frozenset[str]) -> pl.Series:
        """Whether each host row has one of the names."""
        name = self.trace.host["name"]
        known: pl.Series = name.dtype.categories  # type: ignore[attr-defined]
        return known.is_in(list(names))[name.to_physical()]

    def _is_around(self, inside: pl.Series) -> pl.Series:
        """Whether each host row is an operator around one of those that `inside` is true for."""
        row = self.trace.host["row"]
        rows = row.filter(inside)
        around = [rows.head(0)]
        while len(rows := self.above_operator[rows].drop_nulls().unique()):
            around.append(rows)
        return row.is_in(pl.concat(around).implode())

    def with_launch(self, activities: pl.DataFrame) -> pl.DataFrame:
        """Add the launch's thread and times, and the innermost operator's name and arguments; null without a launch."""
        host, launch, operator = self.trace.host, activities["launch"], activities["operator"]
        return activities.with_columns(
            thread=host["thread"][launch],
            launch_start_ns=host["start_ns"][launch],
            launch_end_ns=host["end_ns"][launch],
            operator_name=host["name"][operator],
            call=host["call"][operator],
        )

    def states(self, thread: int) -> tuple[tuple[str, pl.DataFrame], ...]:
        """For each of `STATES` in order, the union of the time in that state or an earlier one.

        The time of one state in [a, b) is then the difference of what two neighbours cover in it: the states exclude
        each other, and what none covers is Python.
        """
        if thread not in self._unions:
            spans = self._spans_by_state(thread)
            taken, unions = intervals.empty(), []
            for state in STATES:
                if (more := spans.get(state)) is not None and more.height:
                    taken = intervals.merge(
                        taken.merge_sorted(more.sort("start_ns"), key="start_ns")
                    )
                unions.append((state, taken))
            self._unions[thread] = tuple(unions)
        return self._unions[thread]

    def _spans_by_state(self, thread: int) -> dict[str, pl.DataFrame]:
        parts = {state: part for (at, state), part in self._state_spans.items() if at == thread}
        return parts | {"profiler": self._profiler_overhead}

    @cached_property
    def _state_spans(self) -> dict[tuple[int, str], pl.DataFrame]:
        """The spans of every thread in every state.

        Operators inside others are left out: `dispatch` is the last state, and they add nothing to the union of all.
        """
        state = self._state.set(
            self.above_operator.is_not_null() & (self._state == "dispatch"), None
        )
        spans = self.trace.host.select("thread", "start_ns", "end_ns").with_columns(state)
        parts = spans.filter(state.is_not_null()).partition_by(
            ["thread", "state"], as_dict=True, include_key=False
        )
        return {(int(thread), str(state)): part for (thread, state), part in parts.items()}

    @cached_property
    def _state(self) -> pl.Series:
        """The state that each host row puts its thread in, null for none."""
        host, named = self.trace.host, self._state_of_name
        by_kind = _states_by_kind(host.schema["kind"].categories, named)  # type: ignore[attr-defined]
        kind, name = host["kind"].to_physical().cast(pl.UInt32), host["name"].to_physical()
        state = by_kind[kind * len(named) + name].alias("state")
        waiting = pl.concat([self.blocking_copies, self._waiting_operators])
        return state.scatter(waiting, "sync")

    @cached_property
    def _state_of_name(self) -> pl.Series:
        """The state that each name stands for, if any, in the order of the name codes."""
        names = pl.DataFrame({"name": self.trace.host.schema["name"].categories})  # type: ignore[attr-defined]
        name = pl.col("name")
        return (
            names.select(
                state=pl.when(name.str.contains(_COMPILE_REGION))
                .then(pl.lit("compile"))
                .when(name.str.contains(_LOADER_REGION))
                .then(pl.lit("dataloader"))
                .when(name.str.contains(_BLOCKING_CALL))
                .then(pl.lit("sync"))
                .when(name.str.contains(_ALLOCATOR_CALL))
                .then(pl.lit("allocator"))
            )
            .to_series()
            .cast(_STATE)
        )

    @cached_property
    def waiting_calls(self) -> pl.Series:
        """Rows of the runtime and driver calls whose names say that they wait for the device."""
        host = self.trace.host
        named = self._state_of_name[host["name"].to_physical()] == "sync"
        return host.filter(named & host["kind"].is_in(c.LAUNCH_KINDS))["row"]

    @cached_property
    def blocking_copies(self) -> pl.Series:
        """Launch calls of copies that return only after the copy has ended: the host waited for the device."""
        copies = self.trace.activities.filter(
            (pl.col("kind") == c.MEMCPY) & pl.col("launch").is_not_null()
        )
        returned = self.trace.host["end_ns"][copies["launch"]]
        return copies.filter(returned >= copies["end_ns"])["launch"].unique()

    @cached_property
    def _waiting_operators(self) -> pl.Series:
        """Operators such as `aten::item` with a call inside that waits; on a tensor of the host they wait for nothing."""
        host = self.trace.host
        named = self._state_of_name[host["name"].to_physical()] == "sync"
        waits = named | host["row"].is_in(self.blocking_copies.implode())
        asks = self.is_operator & host["name"].is_in(_SYNC_OPERATORS)
        above = host.filter(waits & host["kind"].is_in(c.LAUNCH_KINDS))["parent"]
        found = [above.head(0)]
        while len(above := nesting.climb(host["parent"], above, asks).drop_nulls().unique()):
            found.append(above)
            above = host["parent"][above]
        return pl.concat(found).unique()

    @cached_property
    def _profiler_overhead(self) -> pl.DataFrame:
        overhead = self.trace.other.filter(pl.col("category") == "overhead")
        return overhead.select("start_ns", "end_ns")


def _states_by_kind(kinds: Iterable[str], named: pl.Series) -> pl.Series:
    """The state that an event of each kind puts its thread in, for each name; `named` is what the names alone stand for."""
    always = named.set(~named.is_in(["compile", "dataloader"]), None)
    states = dict.fromkeys(c.LAUNCH_KINDS, named.fill_null("runtime"))
    states[c.OPERATOR] = always.fill_null("dispatch")
    return pl.concat([states.get(kind, always) for kind in kinds])
