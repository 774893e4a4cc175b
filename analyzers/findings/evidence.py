"""The evidence of a finding: idle gaps or activities, the largest first, and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals, nesting
from mmprof.analyzers.findings.registry import EVIDENCE_LIMIT, Match
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.lineage import source_lines
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.module_names import module_kind
from mmprof.analyzers.trace import OPERATOR_KINDS
from mmprof.analyzers.units import format_ns, format_share

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# The place that caused most is looked for among the largest items only: the rest could hardly change it.
PLACE_SAMPLE: Final = 256
_SMALL_ROWS: Final = 100_000


def idle_parts(view: View, *causes: str) -> pl.DataFrame:
    """Gaps with a part of these causes: start_ns, end_ns, row, the causes, and `part_ns`, their sum."""
    parts = view.gaps.lazy().select(
        "start_ns", "end_ns", "row", *causes, part_ns=pl.sum_horizontal(causes)
    )
    return parts.filter(pl.col("part_ns") > 0).collect()


def idle_during(view: View, spans: pl.DataFrame) -> pl.DataFrame:
    """Gaps with a part inside a union of spans: start_ns, end_ns, row and `part_ns`."""
    gaps = view.gaps.select("start_ns", "end_ns", "row")
    parts = gaps.with_columns(part_ns=covered(gaps, while_idle(view, spans)))
    return parts.filter(pl.col("part_ns") > 0)


def while_idle(view: View, spans: pl.DataFrame) -> pl.DataFrame:
    """A union of spans without the time in which the device ran anything, be it work outside the window."""
    return intervals.subtract(spans, intervals.merge(view.all_activities))


def covered(gaps: pl.DataFrame, spans: pl.DataFrame) -> pl.Series:
    """Nanoseconds of each gap that lie inside a union of spans."""
    until_end = intervals.covered_before(spans, gaps["end_ns"])
    return until_end - intervals.covered_before(spans, gaps["start_ns"])


def with_ends(view: View, gaps: pl.DataFrame) -> pl.DataFrame:
    """Gaps, the largest part first, with `event`, `thread` and `launch_row` of what ends them; null where nothing does."""
    ends = view.selected.select("row", "event", "thread", launch_row="launch")
    ordered = gaps.sort("part_ns", "start_ns", descending=[True, False])
    return ordered.join(ends, on="row", how="left", maintain_order="left")


def about_idle(
    view: View,
    parts: pl.DataFrame,
    *,
    title: str,
    removable_ns: int | None = None,
    expected_share: float = 0.5,
    lever: str | None = None,
) -> Match:
    """A match about gaps as `idle_parts` gives them; by default all of their part can go."""
    time_ns, ended = total(parts, "part_ns"), with_ends(view, parts)
    return Match(
        title=title,
        time_ns=time_ns,
        removable_ns=time_ns if removable_ns is None else min(removable_ns, time_ns),
        events=_events(ended),
        count=parts.height,
        expected_share=expected_share,
        where=main_place(view, ended["launch_row"], ended["part_ns"]),
        lever=lever,
    )


def about_activities(
    view: View,
    found: pl.DataFrame,
    *,
    title: str,
    removable_ns: int | None = None,
    expected_share: float = 0.5,
    lever: str | None = None,
) -> Match:
    """A match about rows of `view.activities`; by default all of their own time can go."""
    time_ns = total(found, "own_ns")
    largest = found.sort("own_ns", "start_ns", descending=[True, False])
    around = largest.get_column("around", default=largest["launch"])
    return Match(
        title=title,
        time_ns=time_ns,
        removable_ns=time_ns if removable_ns is None else min(removable_ns, time_ns),
        events=_events(largest),
        count=found.height,
        expected_share=expected_share,
        where=main_place(view, around, largest["own_ns"]),
        lever=lever,
    )


def idle_words(view: View, time_ns: int) -> str:
    """How a title names idle time; in a CPU-only trace it is the main thread's time outside working operators."""
    who = "The main thread is outside working operators for" if view.is_host else "GPU idle"
    return f"{who} {share_words(view, time_ns)}"


def python_words(view: View) -> str:
    """How a title names the cause `python`; without operators it cannot be told from dispatch."""
    if view.host.is_operator.any():
        return "outside any recorded operator (Python)"
    return "outside runtime calls (no operators were recorded: it may be dispatch or Python)"


def share_words(view: View, time_ns: int) -> str:
    """A time and its share of the window: `511 ms (47.4 %)`."""
    return f"{format_ns(time_ns)} ({format_share(time_ns, view.window_ns)})"


def longest(gaps: pl.DataFrame) -> int:
    """The largest part of a gap."""
    return int(str(gaps["part_ns"].max()))


def total(frame: pl.DataFrame, column: str) -> int:
    """Sum of a column of nanoseconds."""
    return int(frame[column].sum())


def with_costs(view: View) -> pl.DataFrame:
    """The activities with the columns of `view.costs`."""
    costs = view.costs.drop("row").rename({"bytes": "moved_bytes"})
    return pl.concat([view.activities, costs], how="horizontal")


def named(frame: pl.DataFrame, pattern: str) -> pl.Expr:
    """Whether `name` contains the regular expression; each distinct name is looked at once."""
    codes = frame["name"].to_physical()
    distinct = frame["name"].unique()
    found = distinct.filter(distinct.cast(pl.String).str.contains(pattern)).to_physical()
    return pl.lit(codes.is_in(found.implode()) if len(found) else False)


def steps(view: View) -> int:
    """Steps in the window: its spans, or the profiler's steps that it touches; at least 1."""
    if view.spans is not None:
        return max(1, view.selected["span"].n_unique())
    marks = view.trace.host.filter(pl.col("kind") == c.ANNOTATION)
    inside = (pl.col("start_ns") < view.window["end_ns"].max()) & (
        pl.col("end_ns") > view.window["start_ns"].min()
    )
    named_step = pl.col("name").cast(pl.String).str.starts_with("ProfilerStep#")
    return max(1, marks.filter(named_step & inside).height)


def graph_captures(view: View) -> pl.DataFrame:
    """Host times in a graph capture, from its begin to its end, and of the calls that make a graph of it, as a union."""
    host = view.trace.host
    calls = host.filter(named(host, "StreamBeginCapture|StreamEndCapture|GraphInstantiate"))
    begins = calls.filter(named(calls, "Begin")).select("thread", "start_ns")
    ends = calls.filter(named(calls, "End")).select("thread", "start_ns", "end_ns")
    paired = begins.join_asof(
        ends, on="start_ns", by="thread", strategy="forward", check_sortedness=False
    )
    made = calls.filter(named(calls, "Instantiate")).select("start_ns", "end_ns")
    return intervals.merge(pl.concat([paired.drop_nulls().select("start_ns", "end_ns"), made]))


def main_place(view: View, rows: pl.Series, weights: pl.Series) -> str:
    """The operator, with its source line or module, around the host rows that have most of the weight.

    Args:
        view: The view whose host table the rows are of.
        rows: Host rows, may hold nulls; the ones with most weight first.
        weights: Weight of each.
    """
    known = pl.DataFrame({"row": rows, "weight": weights}).drop_nulls().head(PLACE_SAMPLE)
    if known.is_empty():
        return ""
    places = known.with_columns(place=pl.Series(_places(view.trace.host, known["row"])))
    by_weight = places.group_by("place").agg(pl.col("weight").sum())
    return str(by_weight.sort("weight", "place", descending=[True, False])["place"][0])


def stretches(view: View, state: str) -> pl.DataFrame:
    """When launching threads were in a state during the window.

    Returns:
        thread, start_ns, end_ns and `row`, the host event that began it; by thread and time.
    """
    threads = view.selected["thread"].drop_nulls().unique().sort().to_list()
    found = [_stretches_of_thread(view, thread, state) for thread in threads]
    schema = {"thread": pl.UInt32, **intervals.SCHEMA, "row": pl.UInt32}
    return pl.concat([pl.DataFrame(schema=schema), *found])


def host_row_at(host: pl.DataFrame, thread: int, times: pl.Series) -> pl.Series:
    """The last row of a thread that starts at or before each time; null where there is none."""
    first = int(str(host["thread"].search_sorted(thread, side="left")))
    after = int(str(host["thread"].search_sorted(thread, side="right")))
    starts = host["start_ns"].slice(first, after - first)
    at = starts.search_sorted(times, side="right").cast(pl.Int64) - 1
    return pl.select(pl.when(at >= 0).then(at + first)).to_series().cast(pl.UInt32)


def _stretches_of_thread(view: View, thread: int, state: str) -> pl.DataFrame:
    unions = view.host.states(thread)
    at = next(i for i, (name, _) in enumerate(unions) if name == state)
    found = unions[at][1] if at == 0 else intervals.subtract(unions[at][1], unions[at - 1][1])
    kept = found.filter(covered(found, view.window) > 0)
    return kept.select(
        pl.lit(thread, pl.UInt32).alias("thread"),
        "start_ns",
        "end_ns",
        row=host_row_at(view.trace.host, thread, kept["start_ns"]),
    )


def _events(frame: pl.DataFrame) -> list[int]:
    return [int(e) for e in frame["event"].drop_nulls().head(EVIDENCE_LIMIT).to_list()]


def _places(host: pl.DataFrame, rows: pl.Series) -> list[str]:
    around, at = _ancestry(host, rows)
    innermost = nesting.climb(around["parent"], at, around["kind"].is_in(OPERATOR_KINDS))
    operators = _names(around, pl.select(pl.coalesce(innermost, at)).to_series())
    if not (around["kind"] == c.PYTHON).any() and not _are_modules(around).any():
        return operators
    sources = source_lines(around, at)
    modules = _modules(around, at) if "" in sources else sources
    return [_place(*place) for place in zip(operators, sources, modules, strict=True)]


def _modules(around: pl.DataFrame, rows: pl.Series) -> list[str]:
    """The kind of the innermost module around each row, mmprof's tracer's before torch's: one place for all layers."""
    named, parent = _are_modules(around), around["parent"]
    traced = named & (around["kind"] == c.ANNOTATION)
    innermost = [nesting.climb(parent, rows, modules) for modules in (traced, named)]
    modules = _names(around, pl.select(pl.coalesce(innermost)).to_series())
    return [module_kind(module.removeprefix(MODULE_PREFIX)) for module in modules]


def _are_modules(around: pl.DataFrame) -> pl.Series:
    return around["name"].cast(pl.String).str.starts_with(MODULE_PREFIX)


def _names(host: pl.DataFrame, rows: pl.Series) -> list[str]:
    return host["name"][rows].cast(pl.String).fill_null("").to_list()


def _place(operator: str, source: str, module: str) -> str:
    if source:
        return f"{operator} at {source}"
    return f"{operator} in {module}" if module else operator


def _ancestry(host: pl.DataFrame, rows: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """The rows and everything around them as a small host table, and the places of the rows in it."""
    if len(host) < _SMALL_ROWS:  # a pass over all costs less than a round for each level
        return host.select("name", "kind", "parent"), rows
    parents, found = host["parent"], [rows.unique()]
    while len(outer := parents[found[-1]].drop_nulls().unique()):
        found.append(outer)
    kept = pl.concat(found).unique().sort()
    parent = parents[kept]
    place = pl.when(parent.is_not_null()).then(kept.search_sorted(parent.fill_null(0)))
    around = pl.DataFrame({"name": host["name"][kept], "kind": host["kind"][kept]})
    return around.with_columns(parent=place.cast(pl.UInt32)), kept.search_sorted(rows)
