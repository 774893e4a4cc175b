"""The screen: sections laid out with rich. Only the terminal renderer imports this folder, when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmprof.cli.renderers.screen.canvas import Canvas
from mmprof.cli.renderers.screen.overview import overview
from mmprof.cli.renderers.screen.single_table import single_table

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Report
    from mmprof.cli.renderers.registry import RenderOptions


def render(report: Report, options: RenderOptions) -> str:
    """The report as text of at most `width` columns."""
    canvas = Canvas.of(options)
    if options.by:
        return canvas.draw(single_table(report, canvas, options))
    return canvas.draw(overview(report, canvas.narrowed(), options.top))
