"""Levers that are wrong, each in a way of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from mmprof.tracer.lever import Lever
from mmprof.tracer.workload import Workload


def lever(name: str, apply: Any, *, exactness: Any = "identical", why: str = "") -> Lever:
    return Lever(
        id=name,
        layer="system",
        summary=name,
        exactness=exactness,
        risk="low",
        cost="",
        hurts="",
        applies=lambda workload, device: why,
        apply=apply,
    )


@contextmanager
def raises(workload: Workload) -> Iterator[Workload]:
    raise ValueError("no such kernel")
    yield workload


def running(run: Callable[[], object]) -> Any:
    @contextmanager
    def apply(workload: Workload) -> Iterator[Workload]:
        yield replace(workload, run=run)

    return apply


@contextmanager
def off_by_one_bit(workload: Workload) -> Iterator[Workload]:
    """The smallest change that a float32 can have."""

    def run() -> object:
        made = workload.run()
        return torch.nextafter(made, torch.full_like(made, torch.inf))

    yield replace(workload, run=run)


@contextmanager
def repeated(workload: Workload) -> Iterator[Workload]:
    """Four times the work for the same result."""

    def run() -> object:
        for _ in range(3):
            workload.run()
        return workload.run()

    yield replace(workload, run=run)


@contextmanager
def halved(workload: Workload) -> Iterator[Workload]:
    """An eighth of the toy's rounds, the same result."""
    model = workload.models[""]
    before, model.rounds = model.rounds, model.rounds // 8
    try:
        yield workload
    finally:
        model.rounds = before


def kill() -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return None


RAISES = lever("raises", raises)
KILLS = lever("kills", running(kill))
ELSEWHERE = lever("elsewhere", raises, why="needs another device")
ONE_BIT = lever("one_bit", off_by_one_bit)
SLOW = lever("slow", repeated)
FAST = lever("fast", halved)


def exhaust() -> object:
    return torch.empty(1 << 50, dtype=torch.uint8)


def miscompiled(x: object) -> object:
    raise RuntimeError("the compiler cannot lower this")


@contextmanager
def uncompiled(workload: Workload) -> Iterator[Workload]:
    """A compiler that fails at the first run."""

    def run() -> object:
        return torch.compile(workload.run, backend=lambda graph, inputs: miscompiled(graph))()

    yield replace(workload, run=run)


EXHAUSTS = lever("exhausts", running(exhaust))
UNCOMPILED = lever("uncompiled", uncompiled)
