"""What a renderer is, and the list of all of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Report

DEFAULT_TOP: Final = 10


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How to render.

    Attributes:
        top: Most rows of a table.
        by: The one table to show (`Table.by`); empty for the overview.
        width: Columns of the screen; None where there is no screen.
        color: Whether ANSI colours may be written.
        encoding: Encoding of the output; empty for that of stdout. Decides between block characters and ASCII.
    """

    top: int = DEFAULT_TOP
    by: str = ""
    width: int | None = None
    color: bool = False
    encoding: str = ""


Render = Callable[["Report", RenderOptions], str]


@dataclass(frozen=True, slots=True)
class Renderer:
    """A registered renderer.

    Attributes:
        name: The word for `--format`.
        suffixes: Suffixes of output files that ask for it.
        render: The function; the text it returns ends with a newline.
    """

    name: str
    suffixes: tuple[str, ...]
    render: Render


_REGISTERED: Final[dict[str, Renderer]] = {}


def renderer(name: str, *suffixes: str) -> Callable[[Render], Render]:
    """Register the decorated function as the renderer of this name."""

    def register(render: Render) -> Render:
        _REGISTERED[name] = Renderer(name, suffixes, render)
        return render

    return register


@cache
def renderers() -> Mapping[str, Renderer]:
    """All renderers by name."""
    package = importlib.import_module("mmprof.cli.renderers")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:  # a folder is the inside of a renderer, imported when that one is used
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_REGISTERED.items()))
