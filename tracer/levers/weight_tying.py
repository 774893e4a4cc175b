"""Embeddings and output heads with equal values, stored once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs two tables with equal values that do not share memory."""
    from mmprof.tracer.lever_tables import equal_weights, tables  # noqa: PLC0415  (torch: seconds)

    found = tables(workload)
    if len(found) < 2:
        return "no two embeddings or output heads"
    if equal_weights(workload):
        return ""
    if len({module.weight.data_ptr() for module in found}) < len(found):
        return "tables with equal values share their memory already"
    return "no two of the embeddings and output heads hold equal values"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Let equal weights read the memory of the first of them; afterwards each has its own again."""
    from mmprof.tracer.lever_tables import equal_weights, sharing  # noqa: PLC0415

    with sharing(equal_weights(workload)):
        yield workload


LEVER: Final = Lever(
    id="weight_tying",
    layer="compression",
    summary="An embedding and an output head with equal values are stored once",
    exactness="identical",
    risk="low",
    cost="none",
    hurts="training: what changes one changes the other; no request is faster by it",
    applies=applies,
    apply=apply,
    unseen="it saves memory, not time",
)
