"""`mmprof levers`: what can make a model faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Format

if TYPE_CHECKING:
    from mmprof.cli.grid import Grid
    from mmprof.tracer.lever import Lever

SCHEMA: Final = "mmprof.levers/1"
_COLUMNS: Final = (
    "id",
    "layer",
    "summary",
    "exactness",
    "risk",
    "cost",
    "hurts",
    "budget",
)
_OVERVIEW: Final = ("id", "layer", "exactness", "cost")
_WIDE_OVERVIEW: Final = ("id", "layer", "exactness", "risk", "cost", "summary")
_WIDE: Final = 130
"""Columns of a terminal from which on two columns of sentences can be read."""


@app.command()
def levers(
    name: Annotated[
        str,
        typer.Argument(metavar="LEVER", help="All there is to one lever.", show_default=False),
    ] = "",
    *,
    format_name: Format = "",
) -> None:
    """The levers that it can apply and verify."""
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.tracer.lever_registry import lever_named  # noqa: PLC0415
    from mmprof.tracer.lever_registry import levers as known  # noqa: PLC0415

    chosen, destination = format_of(format_name), Destination()
    found = [lever_named(name)] if name else list(known().values())
    if chosen != "terminal":
        grid = _grid(found, _COLUMNS)
    else:
        wide = (destination.width or _WIDE) >= _WIDE
        overview = _WIDE_OVERVIEW if wide else _OVERVIEW
        grid = _page(found[0]) if name else _grid(found, overview)
    destination.write(render_grid(grid, chosen, destination))


def _grid(found: list[Lever], columns: tuple[str, ...]) -> Grid:
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows = [tuple(getattr(lever, column) for column in columns) for lever in found]
    note = (
        "`mmprof levers LEVER` shows what one does; `mmprof verify TARGET --lever LEVER` proves it."
    )
    return Grid(columns, rows, SCHEMA, note=note)


def _page(lever: Lever) -> Grid:
    """A lever's fields, one a row."""
    from mmprof.cli.grid import Grid  # noqa: PLC0415
    from mmprof.tracer.lever_registry import ALIASES  # noqa: PLC0415

    also = ", ".join(alias for alias, of in ALIASES.items() if of == lever.id)
    rows = [(column, getattr(lever, column)) for column in _COLUMNS if column != "budget"]
    rows += [("largest relative error", f"{lever.budget:g}")] if lever.budget else []
    rows += [("also called", also)] if also else []
    return Grid(("field", "value"), rows, SCHEMA, note=f"mmprof verify TARGET --lever {lever.id}")
