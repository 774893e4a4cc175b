"""`mmprof diff`: what changed between two traces, and whether it is real."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from mmprof.cli.app import app
from mmprof.cli.options import Device, Force, Output, Quiet, Rank, Window
from mmprof.cli.sides import SEPARATOR

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Options
    from mmprof.analyzers.diff.result import Difference
    from mmprof.analyzers.diff.source import Source
    from mmprof.analyzers.load.ahead import ReadAhead


class _TwoSided(TyperCommand):
    """A command whose `--` separates two lists of arguments; a parser would drop it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep each `--` as an argument. The context's type has no public name."""
        return super().parse_args(ctx, [SEPARATOR if word == "--" else word for word in args])


Sides = Annotated[
    list[str],
    typer.Argument(
        metavar="BEFORE AFTER",
        help="Two traces or folders; several a side as BEFORE... -- AFTER..., or named: old=a.json new=b.json.",
        show_default=False,
    ),
]
DiffFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="terminal, json or markdown; default: by the suffix of --output, else terminal.",
        show_default=False,
    ),
]


@app.command(cls=_TwoSided)
def diff(  # noqa: PLR0913  (the options of the command line)
    sides: Sides,
    *,
    format_name: DiffFormat = "",
    output: Output = "",
    force: Force = False,
    top: Annotated[int, typer.Option(min=1, help="Most rows of a table.")] = 10,
    by: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="Show one level only: class, cause, phase, module, op or kernel.",
            show_default=False,
        ),
    ] = "",
    rank: Rank = None,
    device: Device = None,
    window: Window = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare also what is not comparable.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """What changed between two traces, and whether it is real."""
    from mmprof.cli.sides import sides_of  # noqa: PLC0415

    before, after = sides_of(sides)
    ahead = _read_ahead(before.paths[0])  # while the analyses are imported
    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (heavy, as all imports of analyses are)
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.analyzers.diff.pieces import LEVELS  # noqa: PLC0415
    from mmprof.cli.formats import format_of  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.renderers import RenderOptions  # noqa: PLC0415
    from mmprof.cli.renderers.difference import RENDERERS  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    render = RENDERERS[format_of(format_name, output, RENDERERS)]
    level = choose(by, LEVELS, what="the level") if by else ""
    options = Options(rank=rank, device=device, window=window)
    with progress("comparing", [*before.paths, *after.paths], quiet=quiet):
        found = _difference(before, after, options, anyway=anyway, ahead=ahead)
    encoding = "utf-8" if destination.is_file else ""
    drawn = RenderOptions(top, level, destination.width, destination.color, encoding)
    destination.write(render(found, drawn))


def _read_ahead(path: str) -> ReadAhead | None:
    from mmprof.analyzers.load.ahead import ReadAhead  # noqa: PLC0415

    return ReadAhead(path) if Path(path).is_file() else None


def _difference(
    before: Source,
    after: Source,
    options: Options,
    *,
    anyway: bool,
    ahead: ReadAhead | None,
) -> Difference:
    from mmprof.analyzers.diff.difference import difference  # noqa: PLC0415
    from mmprof.analyzers.diff.sides import read_side  # noqa: PLC0415

    first = read_side(before, options, ahead=ahead)
    return difference(first, read_side(after, options), anyway=anyway, window=options.window)
