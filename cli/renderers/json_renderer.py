"""JSON: the whole report under stable names, see `mmprof schema analysis`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mmprof.cli.renderers.registry import RenderOptions, renderer

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Report


@renderer("json", ".json")
def json(report: Report, options: RenderOptions) -> str:  # noqa: ARG001  every renderer takes options
    """Everything, whatever the options: a program selects for itself."""
    from mmprof.analyzers.contract import analysis_document  # noqa: PLC0415  it loads every analysis

    encoded = msgspec.json.encode(analysis_document(report))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"
