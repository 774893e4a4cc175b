"""A check as the document `mmprof.check/1`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome


def json_document(outcome: Outcome, _: RenderOptions) -> str:
    """The document, nothing rounded."""
    return msgspec.json.format(msgspec.json.encode(outcome.check)).decode() + "\n"
