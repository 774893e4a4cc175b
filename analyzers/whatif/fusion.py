"""What a compiler gains: chains of elementwise work in one kernel, fewer launches, less host work for those that remain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.thresholds import FUSABLE
from mmprof.analyzers.units import format_count, format_ns, format_share
from mmprof.analyzers.whatif.changes import (
    HOST_WORK,
    Change,
    Collapsed,
    HostScaled,
    Removed,
    Replaced,
    Shortened,
)
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted
from mmprof.analyzers.whatif.steps import Steps, capturable, compilable

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay

# Host time of a call in compiled code, as a share of what the eager call took: compiled code still checks its guards, allocates
# and calls from Python. No trace of eager code shows it, so all three are assumptions that every prediction names. Half was fitted
# to three models on one CPU: it predicts 1.5x for Llama, 1.2x for Chameleon and 1.7x for HSTU, where torch 2.13 was measured to
# gain 1.4x to 1.5x, 1.3x and 1.8x to 2.3x. Low and high lie three fifths of it to either side.
HOST_LEFT_LOW: Final = 0.8
HOST_LEFT: Final = 0.5
HOST_LEFT_HIGH: Final = 0.2
# A graph launch in units of a kernel launch, where the trace has none to measure. In the public A100 trace with graphs, launches of
# one to three nodes take 3 to 17 (half of the 55 take 6 at most). It need not grow with the number of nodes: not for a straight line of
# kernels from CUDA 12.6 on
# (https://developer.nvidia.com/blog/constant-time-launch-for-straight-line-graphs-and-other-performance-enhancements/).
GRAPH_CALLS: Final = 4
# Where the captured step is not all of the forward, inputs are copied and guards checked in Python around it, or a launch does grow:
# in the public MI300X traces, graphs of 421 and 1,566 nodes take 0.23 and 0.06 kernel launches a node.
GRAPH_HOST_LEFT_LOW: Final = 0.25
_FUSED: Final = r"^triton_|_fused_|multi_tensor_apply"
# A core computes these, or looks them up, for some numbers a nanosecond, fused or not; sums and products wait for memory.
_FUNCTIONS: Final = (
    r"aten::(exp|log|silu|gelu|sigmoid|tanh|sin|cos|erf|_softmax|softplus|index|gather)"
)
_GRAPH_LAUNCH: Final = r"GraphLaunch"


@dataclass(frozen=True, slots=True)
class Chains:
    """Runs of activities that a compiler would fuse.

    Attributes:
        longest: `row` of the one of each run that stands for the fused kernel; `left_ns`, its roofline; `arithmetic_ns`, its time, or
            that of all functions of the run that arithmetic bounds on a CPU.
        others: Rows of those that go away.
        rows: Rows of all.
    """

    longest: pl.DataFrame
    others: pl.Series
    rows: pl.Series

    def fused(self, *, all_of_it: bool = False) -> list[Change]:
        """The changes; with `all_of_it` a run takes as long as its memory traffic needs, and no Python between."""
        if all_of_it:
            return [
                Shortened(self.longest.select("row", "left_ns")),
                Removed(self.others, host=HOST_WORK),
            ]
        return [
            Replaced(self.longest.select("row", left_ns="arithmetic_ns")),
            Removed(self.others),
        ]


def compiled(replay: Replay) -> Predicted:
    """Predict a compiled model: elementwise runs fuse, and the host works less for each call in the forward."""
    if not replay.view.host.is_operator.any():
        return None, "no operators were recorded: nothing shows what a compiler would see"
    region = compilable(replay)
    chains = fusable_chains(replay, region.nodes)
    scaled = [HostScaled(f, nodes=region.nodes) for f in (HOST_LEFT_LOW, HOST_LEFT, HOST_LEFT_HIGH)]
    case = Case(
        low=[scaled[0]],
        expected=[scaled[1], *chains.fused()],
        high=[scaled[2], *chains.fused(all_of_it=True)],
    )
    return predicted(
        replay,
        case,
        rows=replay.rows_of(region.nodes),
        assumptions=_assumptions(chains, region.what),
        time_ns=replay.host_ns(region.nodes),
    )


def graphed(replay: Replay) -> Predicted:
    """Predict compiled steps that one graph launch replays."""
    if replay.view.is_host:
        return None, "a graph replays launches; work of the host is called, not launched"
    steps = capturable(replay)
    chains = fusable_chains(replay, steps.groups["node"])
    if steps.groups.is_empty():
        return None, "no run of launches without a wait or a copy to or from the host between them"
    call = _graph_call(replay)
    nodes = steps.groups["node"]
    case = Case(
        low=[HostScaled(GRAPH_HOST_LEFT_LOW, nodes=nodes)],
        expected=[*chains.fused(), Collapsed(steps.groups, call.ns)],
        high=[
            *chains.fused(all_of_it=True),
            Collapsed(steps.groups, replay.recorded.typical.call_ns),
        ],
    )
    return predicted(
        replay,
        case,
        rows=replay.rows_of(nodes),
        assumptions=_graph_assumptions(steps, call),
        time_ns=replay.host_ns(nodes),
    )


def fusable_chains(replay: Replay, nodes: pl.Series) -> Chains:
    """Activities of some calls that are neighbours on a stream, elementwise work or reductions, and not fused yet; two at least."""
    acts = replay.recorded.activities.select(
        "at", "row", "stream", here=pl.col("node").is_in(nodes.implode()),
        dur_ns=replay.base.activities["dur_ns"],
    )  # fmt: skip
    costs = replay.view.costs.select("row", "roofline_ns")
    known = replay.view.activities.select("row", "class", "in_chain", "name").join(
        costs, on="row", how="left"
    )
    fusable = (
        pl.col("here")
        & pl.col("class").is_in(FUSABLE)
        & ~pl.col("in_chain")
        & ~pl.col("name").cast(pl.String).str.contains(_FUSED)
    )
    placed = acts.join(known, on="row").sort("stream", "at").with_columns(fusable=fusable)
    changes = (pl.col("fusable") != pl.col("fusable").shift(1)) | (
        pl.col("stream") != pl.col("stream").shift(1)
    )
    chained = placed.with_columns(chain=changes.fill_null(value=True).cum_sum()).filter("fusable")
    long = chained.filter(pl.len().over("chain") > 1).with_columns(
        arithmetic_ns=_arithmetic_ns(replay)
    )
    longest = long.sort("dur_ns", "at", descending=[True, False]).unique("chain", keep="first")
    return Chains(
        longest.select("row", "arithmetic_ns", left_ns=_least_ns()),
        long.join(longest.select("row"), on="row", how="anti")["row"],
        long["row"],
    )


def _arithmetic_ns(replay: Replay) -> pl.Expr:
    """The longest of a run, since a device reads and writes once; on a CPU at least all of its functions, which no fusion shortens."""
    longest = pl.col("dur_ns").max()
    if not replay.view.is_host:
        return longest.over("chain")
    functions = pl.col("dur_ns").filter(pl.col("name").cast(pl.String).str.contains(_FUNCTIONS))
    return pl.max_horizontal(longest, functions.sum()).over("chain")


def _least_ns() -> pl.Expr:
    """The roofline of the longest of a run, which reads and writes as much as the fused kernel does; its time without one."""
    return pl.when(pl.col("roofline_ns") > 0).then("roofline_ns").otherwise("dur_ns")


@dataclass(frozen=True, slots=True)
class GraphCall:
    """What launching a graph takes.

    Attributes:
        ns: The time of the call.
        measured: Whether the trace has such calls; else it is `GRAPH_CALLS` kernel launches.
    """

    ns: int
    measured: bool

    def __str__(self) -> str:
        """The time and where it comes from, for people."""
        source = (
            "as in this trace" if self.measured else f"assumed: {GRAPH_CALLS} launch calls; high: 1"
        )
        return f"{format_ns(self.ns)} ({source})"


def _graph_call(replay: Replay) -> GraphCall:
    events = replay.recorded.events.filter(~pl.col("is_wait") & pl.col("row").is_not_null())
    names = replay.view.trace.host["name"].gather(events["row"]).cast(pl.String)
    own = events.filter(names.str.contains(_GRAPH_LAUNCH))["call_ns"].median()
    if own is None:
        return GraphCall(GRAPH_CALLS * replay.recorded.typical.call_ns, measured=False)
    return GraphCall(round(float(str(own))), measured=True)


def _graph_assumptions(steps: Steps, call: GraphCall) -> list[str]:
    launches = format_count(steps.groups.height, "launch", "launches")
    count = steps.groups["group"].n_unique()
    repeats = (
        f"every {steps.what} step has the shapes of the one that was captured: a static cache"
        if steps.repeated
        else "no step repeats in this window: it pays only if the whole window does"
    )
    return [
        f"{launches} become {format_count(count, 'graph launch', 'graph launches')} of {call}",
        repeats,
        f"low: {format_share(GRAPH_HOST_LEFT_LOW)} of the host's time for these launches stays",
    ]


def _assumptions(chains: Chains, what: str) -> list[str]:
    return [
        f"{format_count(len(chains.rows), 'elementwise or normalization activity', 'elementwise or normalization activities')} "
        f"fuse into {format_count(chains.longest.height)}, each as long as its longest part (high: as its memory traffic needs)",
        f"{what} compile as one graph, without a break or a recompilation in the window",
        f"of the host's time for each call in it {format_share(HOST_LEFT)} is left, as fitted to three small models on a CPU (low: "
        f"{format_share(HOST_LEFT_LOW)} and nothing fuses, high: {format_share(HOST_LEFT_HIGH)})",
    ]
