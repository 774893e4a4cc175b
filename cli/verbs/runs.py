"""`mmprof runs`: what searches have measured and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.options import Format
from mmprof.cli.verbs.optimize import Store

if TYPE_CHECKING:
    from mmprof.cli.grid import Grid
    from mmprof.tracer.optimization.store import Run

SCHEMA: Final = "mmprof.runs/1"
_COLUMNS: Final = (
    "run",
    "workload",
    "device",
    "begun",
    "comparisons",
    "baseline_ms",
    "speedup",
    "low",
    "high",
    "levers",
)
_OVERVIEW: Final = ("run", "workload", "begun", "speedup", "low", "high", "levers")
_STACK_COLUMNS: Final = ("levers", "run", "speedup", "low", "high", "ms", "outputs")
_STACK_NOTE: Final = "Speedups are over each run's own baseline; intervals are of one comparison, and allow for no difference of processes."


@app.command()
def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="Runs, or the beginnings of their names: the stacks that they measured, side by side. Default: list all.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Store = ".mmprof/runs",
    format_name: Format = "",
) -> None:
    """What searches have measured and kept."""
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.tracer.optimization.store import runs_in  # noqa: PLC0415

    chosen = format_of(format_name)
    kept = runs_in(Path(store))
    if names:
        grid = _compared([_named(name, kept) for name in names])
    else:
        grid = _listed(kept, _OVERVIEW if chosen == "terminal" else _COLUMNS, store)
    destination = Destination()
    destination.write(render_grid(grid, chosen, destination))


def _named(name: str, kept: Sequence[Run]) -> Run:
    found = [run for run in kept if run.name.startswith(name)]
    if len(found) != 1:
        raise MmprofError(
            "MM-E053",
            f"the run {name!r} {'is not the only one that begins so' if found else 'does not exist'}",
            found=", ".join(run.name for run in found or kept) or "no runs",
            hint="`mmprof runs` lists them; --store names another folder",
        )
    return found[0]


def _listed(kept: Sequence[Run], columns: Sequence[str], store: str) -> Grid:
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows = [dict(zip(_COLUMNS, _row(run), strict=True)) for run in kept]
    note = "`mmprof runs RUN RUN` compares them; the same `mmprof optimize` again goes on with one."
    nothing = f"No runs in {store}: `mmprof optimize` keeps them in the folder --store."
    if columns is _OVERVIEW:  # to the minute: a screen is narrow
        rows = [row | {"begun": str(row["begun"])[:16].replace("T", " ")} for row in rows]
    chosen = [tuple(row[column] for column in columns) for row in rows]
    return Grid(columns, chosen, SCHEMA, note=note if kept else nothing)


def _row(run: Run) -> tuple[object, ...]:
    """A run and the best stack that it has verified."""
    from mmprof.tracer.optimization.records import BaselineMeasured, Begun, Compared, Concluded  # noqa: PLC0415

    begun, base, ended = run.of(Begun), run.of(BaselineMeasured), run.of(Concluded)
    ladder = ended[-1].document.ladder if ended else []
    top = ladder[-1] if ladder else None
    low, high = top.interval if top and top.interval else (None, None)
    return (
        run.name,
        begun[-1].asked if begun else "",
        begun[-1].device_name if begun else "",
        begun[-1].at if begun else "",
        len(run.of(Compared)),
        _ms(base[-1].runs_s) if base else None,
        _factor(top.speedup if top else None),
        _factor(low),
        _factor(high),
        " + ".join(top.levers) if top else "" if ended else "not finished",
    )


def _compared(chosen: Sequence[Run]) -> Grid:
    """Each stack that was measured, the runs side by side."""
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows = sorted((row for run in chosen for row in _stacks(run)), key=lambda row: str(row[0]))
    return Grid(_STACK_COLUMNS, rows, SCHEMA, note=_STACK_NOTE)


def _stacks(run: Run) -> Iterator[tuple[object, ...]]:
    from mmprof.tracer.optimization.records import BaselineMeasured, Compared  # noqa: PLC0415

    for base in run.of(BaselineMeasured)[-1:]:
        yield "", run.name, "1.000", None, None, _ms(base.runs_s), "the baseline"
    for each in run.of(Compared):
        total = each.total
        outputs = each.failure or (each.check.detail if each.check else "")
        yield (
            f"{' + '.join(each.stack)}{' (confirmed)' if each.fresh else ''}",
            run.name,
            _factor(total.median if total else None),
            _factor(total.low if total else None),
            _factor(total.high if total else None),
            _ms(each.runs_s),
            outputs,
        )


def _ms(runs_s: Sequence[float]) -> str | None:
    from statistics import median  # noqa: PLC0415

    return f"{1e3 * median(runs_s):.3f}" if runs_s else None


def _factor(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
