"""What can be drawn: how wide, in colour or not, with block characters or in ASCII."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from mmprof.cli.renderers.registry import RenderOptions

READABLE_COLUMNS: Final = 100
LEAST_COLUMNS: Final = 40
_DRAWN_WITH: Final = "█░…"


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where sections are drawn.

    Attributes:
        width: Columns; no line is longer.
        color: Whether ANSI colours are written.
        encoding: Encoding of the output.
        unicode: Whether that encoding has block characters.
    """

    width: int
    color: bool
    encoding: str
    unicode: bool

    @classmethod
    def of(cls, options: RenderOptions) -> Canvas:
        """The canvas that the options describe; terminals under `LEAST_COLUMNS` get that many."""
        encoding = options.encoding or sys.stdout.encoding or "ascii"
        width = options.width or READABLE_COLUMNS
        return cls(max(width, LEAST_COLUMNS), options.color, encoding, _has_blocks(encoding))

    def narrowed(self) -> Canvas:
        """No wider than prose and small tables can be read."""
        return replace(self, width=min(self.width, READABLE_COLUMNS))

    @property
    def ellipsis(self) -> str:
        """What stands for text that was left out."""
        return "…" if self.unicode else ".."

    def draw(self, sections: Iterable[RenderableType]) -> str:
        """The sections below each other, in characters that the encoding has; ends with a newline."""
        console = self._console()
        for section in sections:
            console.print(section)
        assert isinstance(console.file, StringIO)
        lines = console.file.getvalue().splitlines()
        text = "\n".join(line.rstrip() for line in lines) + "\n"
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def _console(self) -> Console:
        return Console(
            file=StringIO(),
            width=self.width,
            color_system="standard" if self.color else None,
            force_terminal=self.color,
            no_color=not self.color,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
        )


def _has_blocks(encoding: str) -> bool:
    try:
        _DRAWN_WITH.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
