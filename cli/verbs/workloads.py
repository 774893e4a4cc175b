"""`mmprof workloads`: the model families that can be traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmprof.cli.grid import Grid
    from mmprof.tracer.workload import Family, Size

SCHEMA: Final = "mmprof.workloads/1"


@app.command()
def workloads(
    name: Annotated[
        str,
        typer.Argument(metavar="FAMILY", help="All there is to one family.", show_default=False),
    ] = "",
    *,
    format_name: Format = "",
) -> None:
    """The model families that it can trace."""
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.tracer.families import families  # noqa: PLC0415

    chosen = format_of(format_name)
    known = families()
    found = (
        [known[choose(name, known, what="the family", code="MM-E053", otherwise="one of those")]]
        if name
        else list(known.values())
    )
    destination = Destination()
    grids = (
        [_all_fields(found)]
        if chosen != "terminal"
        else _pages(found)
        if name
        else [_overview(found)]
    )
    destination.write("\n".join(render_grid(grid, chosen, destination) for grid in grids))


def _overview(found: Sequence[Family]) -> Grid:
    """One line a family and size."""
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows = [
        (
            family.name if first else "",
            " ".join(task.name for task in family.tasks) if first else "",
            size.name,
            _short(size.parameters),
            size.needs,
        )
        for family in found
        for first, size in _marked_first(family.sizes)
    ]
    note = "`mmprof workloads FAMILY` shows tasks and options; `mmprof trace FAMILY` runs one."
    return Grid(("family", "tasks", "size", "parameters", "needs"), rows, SCHEMA, note=note)


def _pages(found: Sequence[Family]) -> list[Grid]:
    """A family's tasks, sizes and options."""
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    family = found[0]
    tasks = [(t.name, t.summary, " ".join(t.phases)) for t in family.tasks]
    sizes = [(s.name, f"{s.parameters:,}", s.needs) for s in family.sizes]
    options = [
        (f"--set {o.name}={_text(o.default)}", o.help, " ".join(map(_text, o.choices)))
        for o in family.options
    ]
    note = f"{family.summary} {family.source}".strip()
    grids = [
        Grid(("task", "what it does", "phases"), tasks, SCHEMA),
        Grid(("size", "parameters", "needs"), sizes, SCHEMA, note="" if options else note),
    ]
    if options:
        grids.append(Grid(("option", "what it does", "values"), options, SCHEMA, note=note))
    return grids


def _all_fields(found: Sequence[Family]) -> Grid:
    import msgspec  # noqa: PLC0415

    from mmprof.cli.grid import Grid  # noqa: PLC0415

    columns = ("name", "summary", "tasks", "sizes", "options", "source")
    rows = [
        [msgspec.to_builtins(getattr(family, column)) for column in columns] for family in found
    ]
    return Grid(columns, [[_listed(value) for value in row] for row in rows], SCHEMA)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _marked_first(sizes: Sequence[Size]) -> list[tuple[bool, Size]]:
    return [(at == 0, size) for at, size in enumerate(sizes)]


def _short(number: int) -> str:
    """Parameters as `6.74 B`, `160 k`."""
    from mmprof.analyzers.units import scaled  # noqa: PLC0415

    return scaled(number, ((1, ""), (10**3, "k"), (10**6, "M"), (10**9, "B"))).strip()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
