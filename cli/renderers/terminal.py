"""The terminal: one screen that says what to do, or one table in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmprof.cli.renderers.registry import RenderOptions, renderer

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Report


@renderer("terminal", ".txt")
def terminal(report: Report, options: RenderOptions) -> str:
    """The overview, or the table that `by` selects."""
    from mmprof.cli.renderers import screen  # noqa: PLC0415  rich takes 60 ms to import

    return screen.render(report, options)
