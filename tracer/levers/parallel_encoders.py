"""Encoders that read different inputs, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import EVERY, Lever, NotApplicableError

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (threads on a CPU, streams elsewhere)
    """Needs two models, or two parts of one; whether one reads what the other makes shows a run."""
    from mmprof.tracer.lever_parallel import encoders  # noqa: PLC0415  (torch: seconds)

    return (
        "" if len(encoders(workload)) > 1 else "only one model, without two parts of several layers"
    )


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Watch two requests; let encoders that read only what is there before a request begin with the first of them."""
    from mmprof.tracer.lever_parallel import independent, side_by_side  # noqa: PLC0415

    calls = independent(workload)
    if len(calls) < 2:
        found = f"only {type(calls[0].module).__name__} does" if calls else "none does"
        raise NotApplicableError(
            f"no two models or parts read only what is there before a request: {found}"
        )
    with side_by_side(workload, calls) as changed:
        yield changed


LEVER: Final = Lever(
    id="parallel_encoders",
    layer="system",
    summary="Encoders that do not read each other's output run side by side: streams on a device, threads on a CPU",
    exactness="identical",
    risk="medium",
    cost="two requests to see which they are; the memory of both at once",
    hurts="where one of them fills the device, or the clock adds up the time of all threads (one thread, CPU time)",
    applies=applies,
    apply=apply,
    unseen="a trace of one stream or thread does not show which work is independent",
    after=(EVERY,),  # it calls the forwards that the others made
)
