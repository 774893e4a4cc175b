"""The tracks of one device: tables of disjoint spans, whose lengths sum to what the analysis says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import busy, lineage
from mmprof.analyzers.analyses.phases import OTHER, Launches
from mmprof.analyzers.annotated.idle_parts import idle_parts
from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.module_names import module_path
from mmprof.analyzers.phases import STEP_PHASE, SpanTree, phase_spans, steps

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

PHASES: Final = "phases"
STEPS: Final = "steps"
CLASSES_TRACK: Final = "classes"
IDLE: Final = "idle causes"
BOUNDS: Final = "bounds"

_LENGTH: Final = pl.col("end_ns") - pl.col("start_ns")
# Names of the palette of the Trace Event Format; viewers that have no such palette colour by name.
_COLOR_OF_CAUSE: Final = {
    "sync": "terrible",
    "allocator": "bad",
    "compile": "bad",
    "dataloader": "bad",
    "python": "yellow",
    "dispatch": "olive",
    "profiler": "grey",
    "outside": "grey",
    "unknown": "grey",
}
_COLOR_OF_BOUND: Final = {
    "compute": "good",
    "memory": "rail_load",
    "latency": "bad",
    "unknown": "grey",
}


@dataclass(frozen=True, slots=True)
class Track:
    """One row of a viewer.

    Attributes:
        name: What it shows.
        spans: Disjoint spans by start: start_ns, end_ns, name, `cname` (a colour, null for none) where it has one, and
            a column for each argument that is shown with a span (null: not there).
    """

    name: str
    spans: pl.DataFrame


@dataclass(frozen=True, slots=True)
class DeviceTracks:
    """The tracks of one device.

    Attributes:
        title: What the device is called.
        tracks: In the order in which to show them.
        start_ns: Start of the device's window; None where nothing ran.
    """

    title: str
    tracks: tuple[Track, ...]
    start_ns: int | None


def device_tracks(view: View) -> DeviceTracks:
    """Phases, steps, classes, idle causes and bounds of a view; tracks without a span are left out."""
    owned = busy.owned_spans(view.activities, CLASSES)
    made = (
        *_phase_tracks(view, owned),
        _classes(view, owned),
        _idle(view),
        _bounds(view, owned),
    )
    window = view.window
    return DeviceTracks(
        title=_title(view),
        tracks=tuple(track for track in made if track.spans.height),
        start_ns=None if window.is_empty() else int(window["start_ns"][0]),
    )


def _title(view: View) -> str:
    what = "main thread" if view.is_host else f"device {view.device}"
    return f"{what} of rank {view.trace.rank}"


def _phase_tracks(view: View, owned: pl.DataFrame) -> list[Track]:
    """The track of phases, and that of profiler steps where these are not the phases."""
    found, launches = phase_spans(view.trace), Launches.of(view)
    index = pl.format("[{}]", "index").fill_null("")
    phases = found.with_columns(name=pl.col("phase") + index)
    tracks = [] if found["phase"].eq(STEP_PHASE).all() else [(PHASES, phases)]
    named = [*tracks, (STEPS, steps(view.trace))]
    return [Track(name, _by_span(view, owned, launches, spans)) for name, spans in named]


def _by_span(
    view: View, owned: pl.DataFrame, launches: Launches, named: pl.DataFrame
) -> pl.DataFrame:
    """The window cut at the instants where another of the host's spans is the innermost around the launches."""
    tree = SpanTree.of(named)
    of_activity, of_gap = launches.spans(tree)
    mine = owned.select("start_ns", "end_ns", span=of_activity.gather(owned["at"]))
    waits = view.gaps.select("start_ns", "end_ns", span=of_gap)
    nothing = pl.lit(0, pl.Int64)
    both = pl.concat(
        [
            mine.with_columns(busy_ns=_LENGTH, idle_ns=nothing),
            waits.with_columns(busy_ns=nothing, idle_ns=_LENGTH),
        ]
    ).sort("start_ns")
    if both["span"].null_count() == len(both):
        return both.clear()
    runs = _runs(both, "span", pl.col("busy_ns", "idle_ns").sum())
    names = tree.spans["name"].gather(runs["span"]).fill_null(OTHER)
    grey = pl.when(pl.col("span").is_null()).then(pl.lit("grey"))
    return runs.select("start_ns", "end_ns", "busy_ns", "idle_ns", name=names, cname=grey)


def _runs(spans: pl.DataFrame, key: str, *more: pl.Expr) -> pl.DataFrame:
    """Spans of equal key that touch as one, with what else is asked of each run."""
    ends_before = pl.col("start_ns") != pl.col("end_ns").shift(1)
    begins = pl.col(key).ne_missing(pl.col(key).shift(1)) | ends_before.fill_null(value=True)
    return (
        spans.group_by(begins.cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("start_ns").first(), pl.col("end_ns").last(), pl.col(key).first(), *more)
        .drop("run")
    )


def _classes(view: View, owned: pl.DataFrame) -> Track:
    facts = view.activities.select(
        "class", "event", "by", first=pl.col("name"), operator=pl.col("operator_name")
    )
    spans = pl.concat([owned, facts[owned["at"]]], how="horizontal")
    first = pl.col("event", "first", "operator", "by").first()
    runs = _runs(spans, "class", pl.len().alias("activities"), first)
    return Track(CLASSES_TRACK, runs.rename({"class": "name"}))


def _bounds(view: View, owned: pl.DataFrame) -> Track:
    spans = owned.with_columns(bound=view.costs["bound"].gather(owned["at"]))
    runs = _runs(spans, "bound", pl.len().alias("activities"))
    color = pl.col("bound").replace_strict(_COLOR_OF_BOUND, default=None, return_dtype=pl.String)
    return Track(BOUNDS, runs.with_columns(cname=color).rename({"bound": "name"}))


def _idle(view: View) -> Track:
    """Each part of each gap, with the activity that ended the gap and what stood around its launch."""
    parts = idle_parts(view).join(_described(view), on="gap_ns", how="left", maintain_order="left")
    color = pl.col("cause").replace_strict(_COLOR_OF_CAUSE, default=None, return_dtype=pl.String)
    shown = parts.with_columns(cname=color).drop("gap_ns").rename({"length_ns": "gap_ns"})
    return Track(IDLE, shown.rename({"cause": "name"}))


def _described(view: View) -> pl.DataFrame:
    ended = view.gaps.select("row", gap_ns="start_ns", length_ns=_LENGTH).join(
        view.selected.select("row", "event", "name", "operator_name", launch_row="launch"),
        on="row",
        how="left",
        maintain_order="left",
    )
    around = lineage.lineage(view.host, ended["launch_row"])
    modules = {code: module_path(path.modules) for code, path in around.paths.items()}
    sources = lineage.source_lines(view.trace.host, ended["launch_row"])
    return ended.select(
        "gap_ns",
        "length_ns",
        "event",
        before=pl.col("name"),
        operator=pl.col("operator_name"),
        module=around.code.replace_strict(modules, return_dtype=pl.String),
        source=pl.Series(sources, dtype=pl.String),
    )
