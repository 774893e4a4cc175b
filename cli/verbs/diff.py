"""`mmprof diff`: what changed between two traces, and whether it is real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.app import app
from mmprof.cli.options import Device, Force, Output, Quiet, Rank, Window
from mmprof.cli.sides import SEPARATOR

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Options
    from mmprof.analyzers.annotated import Document
    from mmprof.analyzers.diff.result import Difference
    from mmprof.analyzers.diff.source import Source
    from mmprof.analyzers.load.ahead import ReadAhead
    from mmprof.cli.output import Destination


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
        help="terminal, json, markdown, or trace for both sides in one trace viewer; default: by the suffix of --output, "
        "else terminal.",
        show_default=False,
    ),
]
Level = Annotated[
    str,
    typer.Option(
        metavar="LEVEL",
        help="Show one level only: class, cause, phase, step, module, op or kernel.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class _Asked:
    """What is to be compared.

    Attributes:
        before: The first side.
        after: The second side.
        options: Rank, device and window.
        anyway: Whether to compare what is not comparable.
        quiet: Whether to say nothing on standard error.
    """

    before: Source
    after: Source
    options: Options
    anyway: bool
    quiet: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of both sides."""
        return (*self.before.paths, *self.after.paths)


@app.command(cls=_TwoSided)
def diff(  # noqa: PLR0913  (the options of the command line)
    sides: Sides,
    *,
    format_name: DiffFormat = "",
    output: Output = "",
    force: Force = False,
    top: Annotated[int, typer.Option(min=1, help="Most rows of a table.")] = 10,
    by: Level = "",
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
    from mmprof.cli.renderers import RenderOptions  # noqa: PLC0415
    from mmprof.cli.renderers.difference import FORMATS, RENDERERS, SUFFIXES, TRACE  # noqa: PLC0415

    destination = Destination(output, force)
    destination.check()
    wanted = format_of(format_name, output, FORMATS, SUFFIXES)
    level = choose(by, LEVELS, what="the level") if by else ""
    options = Options(rank=rank, device=device, window=window)
    asked = _Asked(before, after, options, anyway, quiet)
    if wanted == TRACE:
        _write_trace(asked, destination, ahead)
        return
    encoding = "utf-8" if destination.is_file else ""
    drawn = RenderOptions(top, level, destination.width, destination.color, encoding)
    destination.write(RENDERERS[wanted](_difference(asked, ahead), drawn))


def _read_ahead(path: str) -> ReadAhead | None:
    from mmprof.analyzers.load.ahead import ReadAhead  # noqa: PLC0415

    return ReadAhead(path) if Path(path).is_file() else None


def _difference(asked: _Asked, ahead: ReadAhead | None) -> Difference:
    from mmprof.analyzers.diff.difference import difference  # noqa: PLC0415
    from mmprof.analyzers.diff.sides import read_side  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415

    with progress("comparing", asked.paths, quiet=asked.quiet):
        before = read_side(asked.before, asked.options, ahead=ahead)
        after = read_side(asked.after, asked.options)
        return difference(before, after, anyway=asked.anyway, window=asked.options.window)


def _write_trace(asked: _Asked, destination: Destination, ahead: ReadAhead | None) -> None:
    """Write both sides as one trace, if they are comparable; the first line of the comparison goes to standard error."""
    from mmprof.cli.output import say  # noqa: PLC0415
    from mmprof.cli.progress import progress  # noqa: PLC0415
    from mmprof.cli.renderers.difference.headline import headline  # noqa: PLC0415
    from mmprof.cli.renderers.safe import printable  # noqa: PLC0415
    from mmprof.cli.trace_file import VIEWER, trace_suffix, write_trace  # noqa: PLC0415

    path = Path(destination.path)
    _check_as_trace(asked, output=destination.path, suffix=trace_suffix(path))
    found = _difference(asked, ahead)
    with progress("drawing", asked.paths, quiet=asked.quiet):
        document = _both_sides(asked)
        write_trace(document, path, force=destination.force)
    if document.left_out:
        say(f"{document.left_out:,} damaged pieces of the event list were left out")
    if not asked.quiet:
        say(printable(headline(found)))
        say(f"open {path} in {VIEWER}")


def _check_as_trace(asked: _Asked, *, output: str, suffix: str) -> None:
    if not suffix:
        raise MmprofError(
            "MM-E029",
            "a trace is written to a file",
            found=f"--output {output}" if output else "no --output",
            hint="-o both.json.gz",
        )
    if "-" in asked.paths:
        raise MmprofError(
            "MM-E029",
            "what becomes part of a trace is read twice, and standard input can be read once",
            found="-",
            hint="save it to a file first",
        )


def _both_sides(asked: _Asked) -> Document:
    from mmprof.analyzers.annotated import aligned, joined_document, recorded_files  # noqa: PLC0415

    sides = [
        [recorded for path in side.paths for recorded in recorded_files(path)]
        for side in (asked.before, asked.after)
    ]
    rank = asked.options.rank
    before, after = ([r for r in side if rank in (None, r.rank)] for side in sides)
    return joined_document(aligned(before, after))
