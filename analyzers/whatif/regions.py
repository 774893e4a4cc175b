"""What compiling repeated layers gains: less host work within each, and the price of entering compiled code at each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.units import format_count, format_ns, format_share
from mmprof.analyzers.whatif.changes import Change, HostAdded, HostScaled
from mmprof.analyzers.whatif.fusion import (
    HOST_LEFT,
    HOST_LEFT_HIGH,
    HOST_LEFT_LOW,
    fusable_chains,
)
from mmprof.analyzers.whatif.modules import module_calls, with_module
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted
from mmprof.analyzers.whatif.steps import calls_inside

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

# What entering compiled code took beside its work: 36 us for a norm and 56 us for a feed-forward network of a Llama, 27 to 34 us for a
# function without weights (torch 2.13, one core of a Zen 3). Guards are checked and buffers made in Python, whatever the device; half and
# twice of it are high and low.
ENTRY_NS: Final = 45_000
_LAYER: Final = r"^(.*\.)?\d+ \([^()\s]+\)$"
_NUMBERS: Final = r"(^|\.)\d+(\.|\s)"
_NO_LAYERS: Final = "no module of the trace stands under a number in a list: record with mmprof's tracer, which names modules"


def compiled_layers(replay: Replay) -> Predicted:
    """Predict compiled layers: what `torch_compile` changes, within the layers only, and an entry for each of their calls."""
    regions = repeated_regions(replay.view)
    if regions.is_empty():
        return None, _NO_LAYERS
    events = replay.recorded.events.filter(pl.col("thread").is_not_null())
    called = calls_inside(events, regions)
    nodes, entries = called["node"], _entries(called, regions)
    chains = fusable_chains(replay, nodes)
    case = Case(
        low=_entered(nodes, entries, HOST_LEFT_LOW, 2 * ENTRY_NS),
        expected=[*_entered(nodes, entries, HOST_LEFT, ENTRY_NS), *chains.fused()],
        high=[
            *_entered(nodes, entries, HOST_LEFT_HIGH, ENTRY_NS // 2),
            *chains.fused(all_of_it=True),
        ],
    )
    said = [
        f"{format_count(len(entries), 'call')} of layers, or of their parts that have no key-value cache, run compiled code: each "
        f"takes {format_ns(ENTRY_NS)} to enter (low: twice, high: half of it), as measured on one CPU",
        f"{format_count(len(chains.rows), 'elementwise or normalization activity', 'elementwise or normalization activities')} "
        f"fuse into {format_count(chains.longest.height)}",
        f"of the host's time for each call in them {format_share(HOST_LEFT)} is left (low: {format_share(HOST_LEFT_LOW)} and nothing "
        f"fuses, high: {format_share(HOST_LEFT_HIGH)})",
    ]
    return predicted(
        replay, case, rows=replay.rows_of(nodes), assumptions=said, time_ns=replay.host_ns(nodes)
    )


def _entered(nodes: pl.Series, entries: pl.Series, left: float, price_ns: int) -> list[Change]:
    return [HostScaled(left, nodes=nodes), HostAdded(entries, price_ns)]


def repeated_regions(view: View) -> pl.DataFrame:
    """Calls of modules that stand in a list, or of the parts of those that keep a cache.

    Returns:
        `row`, `start_ns`, `end_ns` of each; none within another.
    """
    calls = module_calls(view).with_columns(
        pattern=pl.col("name").str.replace_all(_NUMBERS, "${1}*${2}")
    )
    layers = calls.filter(pl.col("name").str.contains(_LAYER))
    layers = layers.filter(~pl.col("row").is_in(_nested(layers).implode()))
    cached = _patterns_with_cache(view, calls)
    whole = layers.filter(~pl.col("pattern").is_in(cached.implode()))
    opened = layers.filter(pl.col("pattern").is_in(cached.implode()))
    parts = calls.filter(
        pl.col("outer").is_in(opened["row"].implode()), ~pl.col("pattern").is_in(cached.implode())
    )
    found = pl.concat([whole, parts]).select("row", "start_ns", "end_ns")
    return found.filter(pl.col("row").is_in(_with_work(view, found).implode())).sort("start_ns")


def _nested(calls: pl.DataFrame) -> pl.Series:
    """The calls that lie in another one of them: those of a thread are nested or apart."""
    reached = pl.col("end_ns").cum_max().shift(1).over("thread")
    ordered = calls.sort("thread", "start_ns").with_columns(reached_ns=reached)
    return ordered.filter(pl.col("start_ns") < pl.col("reached_ns"))["row"]


def _patterns_with_cache(view: View, calls: pl.DataFrame) -> pl.Series:
    """Patterns of the modules in which a key-value cache is written at least once."""
    writes = view.activities.filter(
        pl.col("class") == "kv_cache_update", pl.col("launch").is_not_null()
    )
    found = with_module(view, writes, "launch")["module"].drop_nulls().unique()
    rows = [found]
    while len(found):
        found = calls.filter(pl.col("row").is_in(found.implode()))["outer"].drop_nulls().unique()
        rows.append(found)
    return calls.filter(pl.col("row").is_in(pl.concat(rows).implode()))["pattern"].unique()


def _with_work(view: View, regions: pl.DataFrame) -> pl.Series:
    """The regions with two activities at least: a single operator is not worth compiling."""
    launches = view.activities["launch_start_ns"].drop_nulls().sort()
    before, until = (launches.search_sorted(regions[edge]) for edge in ("start_ns", "end_ns"))
    return regions.filter((until.cast(pl.Int64) - before.cast(pl.Int64)) > 1)["row"]


def _entries(called: pl.DataFrame, regions: pl.DataFrame) -> pl.Series:
    """The first call in each region."""
    starts = called["start_ns"]
    at = starts.search_sorted(regions["start_ns"], side="left")
    return called["node"].gather(at.filter(at < len(starts)))
