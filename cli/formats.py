"""Which format a command writes, and how wide and in which colors: the same for all verbs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmprof.cli.output import Destination
    from mmprof.cli.renderers import RenderOptions

DOCUMENT_SUFFIXES: Final = {".txt": "terminal", ".json": "json", ".md": "markdown"}


def format_of(
    name: str,
    output: str,
    formats: Collection[str],
    suffixes: Mapping[str, str] = DOCUMENT_SUFFIXES,
) -> str:
    """The format of a name; without one that of the output's suffix, `terminal` where it has none.

    Raises:
        MmprofError: There is no such format.
    """
    from mmprof.analyzers.choices import choose  # noqa: PLC0415

    if name:
        return choose(name, formats, what="the format")
    suffix = "" if output in {"", "-"} else Path(output).suffix.lower()
    if not suffix:
        return "terminal"
    return suffixes[choose(suffix, suffixes, what="a format for the suffix")]


def render_options(destination: Destination) -> RenderOptions:
    """How to render for a destination."""
    from mmprof.cli.renderers import RenderOptions  # noqa: PLC0415

    encoding = "utf-8" if destination.is_file else ""
    return RenderOptions(width=destination.width, color=destination.color, encoding=encoding)
