"""Renderers: the same report as a screen, JSON, Markdown or CSV.

Each renderer is one file of this folder that registers itself; adding one is adding a file. A renderer sees a report,
never a trace, and returns text: writing it is the caller's.
"""

from __future__ import annotations

from mmprof.cli.renderers.registry import Renderer, RenderOptions, renderer, renderers

__all__ = ["RenderOptions", "Renderer", "renderer", "renderers"]
