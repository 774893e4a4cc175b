"""Which launches belong together: to a step that repeats, to the forward of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals, nesting
from mmprof.analyzers.findings.thresholds import STALL_NS
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.phases import SpanTree, phase_spans

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

LEAST_LAUNCHES: Final = 3
"""With fewer launches there is nothing to gather."""

_OVER_BUS: Final = "HtoD|DtoH|HostToDevice|DeviceToHost"


@dataclass(frozen=True, slots=True)
class Steps:
    """Launches that a graph could replay.

    Attributes:
        groups: `node` and `group`, an unbroken run of launches in one step.
        repeated: Whether the steps repeat within the window; else a graph pays only if the whole window repeats.
        what: Names of the phases, for people; empty where the window has none.
    """

    groups: pl.DataFrame
    repeated: bool
    what: str


def capturable(replay: Replay) -> Steps:
    """Runs of launches without a wait or a copy over the bus between them, in each instance of the phases that repeat."""
    phases = _repeated_phases(replay.view)
    calls = _with_instance(replay, phases)
    stays = ~pl.col("fits") | (pl.col("instance") != pl.col("instance").shift(1))
    breaks = stays | pl.col("node").is_in(_other_work(replay).implode())
    runs = calls.with_columns(group=breaks.fill_null(value=True).cum_sum()).filter("fits")
    kept = runs.filter(pl.len().over("group") >= LEAST_LAUNCHES)
    names = ", ".join(phases["phase"].unique(maintain_order=True).to_list())
    return Steps(kept.select("node", "group"), repeated=not phases.is_empty(), what=names)


@dataclass(frozen=True, slots=True)
class Compilable:
    """What a compiler would be given.

    Attributes:
        nodes: The calls made in it.
        what: What it is, for people.
    """

    nodes: pl.Series
    what: str


def compilable(replay: Replay) -> Compilable:
    """The forward of a decode step where there are any, which is what is compiled of a model that generates; else every forward.

    Without modules in the trace, all that the phases hold; without phases, everything.
    """
    events = replay.recorded.events.filter(pl.col("thread").is_not_null())
    modules, phases = _outermost_modules(replay.view), phase_spans(replay.view.trace)
    decode = phases.filter((pl.col("phase") == "decode") & pl.col("index").is_not_null())
    within = decode if decode.height else phases
    if modules.is_empty() and within.is_empty():
        called = events.join(_other_work(replay).to_frame(), on="node", how="anti")
        return Compilable(called["node"], "everything")
    inside = events if modules.is_empty() else calls_inside(events, modules)
    if decode.height or modules.is_empty():
        inside = calls_inside(inside, within)
    called = inside.join(_other_work(replay).to_frame(), on="node", how="anti")
    return Compilable(called["node"], "the decode steps" if decode.height else "the model")


def _other_work(replay: Replay) -> pl.Series:
    """The calls before which the host did something else than to launch: a batch, a compilation, a long pause."""
    long = pl.sum_horizontal("dispatch", "python", "runtime") >= STALL_NS
    other = (pl.col("dataloader") > 0) | (pl.col("compile") > 0) | long
    return replay.recorded.events.filter(other)["node"]


def _repeated_phases(view: View) -> pl.DataFrame:
    """The instances of phases that occur twice at least; innermost ones where they nest."""
    spans = phase_spans(view.trace).filter(pl.col("index").is_not_null())
    return spans.filter(pl.len().over("phase") > 1)


def _with_instance(replay: Replay, phases: pl.DataFrame) -> pl.DataFrame:
    """The calls of the window with `fits`, whether a graph could hold each, and `instance`, the step it is of."""
    acts = replay.recorded.activities.filter(pl.col("span") >= 0)
    names = replay.view.selected.select("row", name=pl.col("name").cast(pl.String))
    over_bus = acts.join(names, on="row").filter(
        pl.col("is_copy") & pl.col("name").str.contains(_OVER_BUS)
    )["node"]
    fits = (
        pl.col("node").is_in(acts["node"].implode())
        & ~pl.col("node").is_in(over_bus.implode())
        & ~pl.col("is_wait")
        & (pl.col("waits_for") < 0)
    )
    events = replay.recorded.events.select("node", "start_ns", "is_wait", "waits_for")
    if phases.is_empty():
        return events.select("node", fits=fits, instance=pl.lit(0))
    instance = SpanTree.of(phases.select("start_ns", "end_ns")).containing(events["start_ns"])
    known = events.select("node", fits=fits).with_columns(instance=instance.cast(pl.Int64))
    return known.with_columns(
        fits=pl.col("fits") & pl.col("instance").is_not_null(), instance=pl.col("instance").fill_null(-1)
    )  # fmt: skip


def _outermost_modules(view: View) -> pl.DataFrame:
    host = view.trace.host
    named = host["name"].cast(pl.String).str.starts_with(MODULE_PREFIX)
    modules = named & host["kind"].is_in([c.PYTHON, c.ANNOTATION])
    outermost = modules & nesting.above(host["parent"], modules).is_null()
    return host.filter(outermost).select("start_ns", end_ns=pl.col("start_ns") + pl.col("dur_ns"))


def calls_inside(events: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The calls that begin within some spans."""
    union = intervals.merge(spans)
    if union.is_empty():
        return events.clear()
    at = union["start_ns"].search_sorted(events["start_ns"], side="right").cast(pl.Int64) - 1
    within = (at >= 0) & (events["start_ns"] < union["end_ns"].gather(at.clip(0)))
    return events.filter(within)
