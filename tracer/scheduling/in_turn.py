"""Requests one after the other, each alone: what a server without a scheduler does, and what schedules are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmprof.tracer.models.generation import greedy_generation
from mmprof.tracer.verify_taps import of_request
from mmprof.tracer.workload import Queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from mmprof.tracer.workload import GreedyRequest


def in_turn(model: object, requests: Iterable[GreedyRequest]) -> Queue:
    """A queue whose requests go through `model.generate` one by one."""
    waiting = tuple(requests)
    runs = [greedy_generation(model, each.prompt, each.new_tokens) for each in waiting]

    def answers() -> Iterator[Tensor]:
        for number, run in enumerate(runs):
            with of_request(number):
                yield run()

    return Queue(waiting, lambda: tuple(answers()))
