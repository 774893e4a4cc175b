"""One device window cut into pieces: every nanosecond of it once, with all that the levels of a diff know of it.

A busy piece has a class, an operator with its shapes, a module and a kernel; an idle one has a cause. Both have a phase and a
step. What a piece has not stands as `idle`, `busy` or `unattributed`, so that the pieces of any column sum to the window.

A gap belongs to the phase that is around the launches on both of its sides (as in `mmprof analyze`), and to the step of the
activity that ends it: the steps then sum to the window without the time between them being lost.

Steps are named by their order, `decode[3]`, so that the third of one trace is the third of another; what is outside all steps
is named by its phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.analyses.modules import innermost_patterns
from mmprof.analyzers.analyses.phases import OTHER, Launches
from mmprof.analyzers.idle import CAUSES
from mmprof.analyzers.phases import STEP_PHASE, SpanTree, phase_spans, steps

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace
    from mmprof.analyzers.view import View

IDLE: Final = "idle"
BUSY: Final = "busy"
UNATTRIBUTED: Final = "unattributed"
LEVELS: Final = ("class", "cause", "phase", "step", "module", "op", "kernel")
"""By what time is compared."""

_CUT: Final = {
    "step": pl.Int64,
    "phase": pl.String,
    "class": pl.String,
    "cause": pl.String,
    "module": pl.String,
    "op": pl.String,
    "operator": pl.String,
    "kernel": pl.String,
    "position": pl.Int64,
    "of": pl.Int64,
    "time_ns": pl.Int64,
    "count": pl.Int64,
}
SCHEMA: Final = {**_CUT, "instance": pl.String}
LEAST_STEPS: Final = 2
_OPERANDS: Final = {2: ("aten::mm", "aten::bmm"), 3: ("aten::addmm", "aten::baddbmm")}
_MOST_POSITIONS: Final = 64


def pieces(view: View) -> pl.DataFrame:
    """The pieces of a view, `SCHEMA`: equal ones summed, their number in `count`.

    `step` counts the steps that launched activities, from 0 and null outside all; `instance` is its name. `position` is the
    place of a kernel among those of its class in one call of its operator, and `of` the number of these.
    """
    launches = Launches.of(view)
    phase, gap_phase = _phases(launches, view.trace)
    spans = step_spans(view.trace)
    step = _steps(launches, spans)
    ending = step.gather(launches.gaps["after"])
    cut = pl.concat([_busy(view, phase, step), _idle(view, gap_phase, ending)])
    return cut.with_columns(instance=_instance(spans))


def step_spans(trace: Trace) -> pl.DataFrame:
    """What repeats in a trace, disjoint or nested in nothing: `ProfilerStep#N`, else the phase with most instances' time."""
    annotated = steps(trace).with_columns(phase=pl.lit(STEP_PHASE)).drop("name")
    if annotated.height >= LEAST_STEPS:
        return annotated
    instances = phase_spans(trace).filter(pl.col("index").is_not_null())
    length = (pl.col("end_ns") - pl.col("start_ns")).sum()
    repeated = instances.group_by("phase").agg(pl.len(), length=length)
    main = repeated.filter(pl.col("len") >= LEAST_STEPS).sort(
        "length", "phase", descending=[True, False]
    )
    return instances.join(main.head(1), on="phase", how="semi", maintain_order="left")


def _phases(launches: Launches, trace: Trace) -> tuple[pl.Series, pl.Series]:
    """The phase of each activity and of each gap."""
    tree = SpanTree.of(phase_spans(trace))
    at, around = (tree.spans["phase"].gather(rows) for rows in launches.spans(tree))
    return at.fill_null(OTHER), around.fill_null(OTHER)


def _steps(launches: Launches, spans: pl.DataFrame) -> pl.Series:
    """The step of each activity, numbered by time; steps that launched nothing have no number."""
    launched, _ = launches.spans(SpanTree.of(spans))
    return launched.rank("dense").cast(pl.Int64) - 1


def _instance(spans: pl.DataFrame) -> pl.Expr:
    """The name of a piece's step, all of which are of one phase; outside all steps that of its phase."""
    phase = pl.lit(spans["phase"].first(), pl.String)  # no format: a name may hold braces
    named = pl.concat_str(phase, pl.lit("["), "step", pl.lit("]"))
    return pl.when(pl.col("step").is_null()).then("phase").otherwise(named)


def _busy(view: View, phase: pl.Series, step: pl.Series) -> pl.DataFrame:
    activities = view.activities
    in_call, known = ["operator", "class"], pl.col("operator").is_not_null()
    place = pl.when(known).then(pl.int_range(pl.len()).over(in_call)).otherwise(0)
    places = pl.when(known).then(pl.len().over(in_call)).otherwise(0)
    rows = activities.select(
        "class",
        step=step,
        phase=phase,
        cause=pl.lit(BUSY),
        module=innermost_patterns(view),
        operator=_operator_names(view),
        call="call",
        kernel=pl.col("name").cast(pl.String),
        position=place.clip(upper_bound=_MOST_POSITIONS).cast(pl.Int64),
        of=places.clip(upper_bound=_MOST_POSITIONS).cast(pl.Int64),
        time_ns="own_ns",
    )
    keys = [name for name in rows.columns if name != "time_ns"]
    sums = rows.group_by(keys).agg(pl.col("time_ns").sum(), count=pl.len().cast(pl.Int64))
    return _named(sums, view.trace.calls).select(*_CUT)


def _operator_names(view: View) -> pl.Series:
    """The innermost operator around the launch of each activity, "" for none."""
    first = {code: (*path.operators, "")[0] for code, path in view.lineage.paths.items()}
    path = view.activities["path"].cast(pl.Int64)
    return path.replace_strict(first, return_dtype=pl.String)


def _named(rows: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Add `op`, the operator with the shapes of its arguments; what has no name is unattributed."""
    shapes = calls.select("call", dims=_shapes(pl.col("dims")))
    shaped = rows.join(shapes, on="call", how="left", nulls_equal=True, maintain_order="left")
    dims = _operands(pl.col("operator"), pl.col("dims").fill_null(""))
    op = pl.concat_str([pl.col("operator"), dims], separator=" ")
    return shaped.with_columns(
        pl.col("module", "operator").replace("", UNATTRIBUTED),
        op=pl.when(pl.col("operator") == "")
        .then(pl.lit(UNATTRIBUTED))
        .otherwise(op.str.strip_chars_end()),
    )


def _shapes(dims: pl.Expr) -> pl.Expr:
    """Shapes without blanks and without the empty ones of scalars: `[[16,768],[768,64]]`."""
    return dims.str.replace_all(r"\s", "").str.replace_all(",[]", "", literal=True)


def _operands(operator: pl.Expr, dims: pl.Expr) -> pl.Expr:
    """The shapes of products without that of the result, which compiled code gives them to write to."""
    kept = dims
    for number, names in _OPERANDS.items():
        first = dims.str.extract(rf"^(\[(?:\[[\d,]*\],){{{number - 1}}}\[[\d,]*\])")
        whole = pl.concat_str([first, pl.lit("]")])
        kept = pl.when(operator.is_in(names) & first.is_not_null()).then(whole).otherwise(kept)
    return kept


def _idle(view: View, phase: pl.Series, step: pl.Series) -> pl.DataFrame:
    rows = view.gaps.select(*CAUSES, step=step, phase=phase).unpivot(
        CAUSES, index=["step", "phase"], variable_name="cause", value_name="time_ns"
    )
    sums = (
        rows.filter(pl.col("time_ns") > 0)
        .group_by("step", "phase", "cause")
        .agg(pl.col("time_ns").sum(), count=pl.len().cast(pl.Int64))
    )
    same = (pl.lit(IDLE).alias(n) for n in ("class", "module", "op", "operator", "kernel"))
    return sums.with_columns(*same, position=pl.lit(0), of=pl.lit(0)).select(
        pl.col(name).cast(kind) for name, kind in _CUT.items()
    )
