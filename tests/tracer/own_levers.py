"""Levers that are wrong, each in a way of its own."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
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


def leave() -> object:
    os._exit(7)


def hang() -> object:
    while True:
        time.sleep(1)


def garble() -> object:
    """An answer that nobody asked for, in the place of the next one: on the pipe that stands in for standard output."""
    for number in range(3, 20):
        with suppress(OSError):
            os.write(number, b"nonsense\n")
    return None


def allocate() -> object:
    """Python's own memory, until there is none: below a limit, for the machine is not the test's own."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, limit))
    return [bytearray(1 << 24) for _ in range(1 << 10)]


@contextmanager
def raises_later(workload: Workload) -> Iterator[Workload]:
    """Raises in the middle of a request, once it has been warmed up, compared and measured for a while."""
    model, requests = workload.models[""], iter(range(1_000_000))
    product = model.product.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if next(requests) > 20 * model.rounds:
            raise RuntimeError("lost the device")
        made: torch.Tensor = product(x)
        return made

    model.product.forward = forward
    try:
        yield workload
    finally:
        model.product.forward = product


def elsewhere_kills(workload: Workload, device: str) -> str:
    return str(kill())


def elsewhere_raises(workload: Workload, device: str) -> str:
    raise KeyError("no such attribute")


@contextmanager
def at_random(workload: Workload) -> Iterator[Workload]:
    yield replace(workload, run=lambda: workload.run() + torch.rand(1))


@contextmanager
def kills_the_baseline(workload: Workload) -> Iterator[Workload]:
    """As the system may where memory runs out: the oldest process goes, not the one that took the memory."""
    parent, rounds = os.getppid(), iter(range(1_000_000))
    siblings = Path(f"/proc/{parent}/task/{parent}/children")

    def run() -> object:
        if next(rounds) == 6:
            os.kill(min(map(int, siblings.read_text().split())), signal.SIGKILL)
        return workload.run()

    yield replace(workload, run=run)


RAISES = lever("raises", raises)
KILLS = lever("kills", running(kill))
ELSEWHERE = lever("elsewhere", raises, why="needs another device")
ONE_BIT = lever("one_bit", off_by_one_bit)
SLOW = lever("slow", repeated)
FAST = lever("fast", halved)
LEAVES = lever("leaves", running(leave))
HANGS = lever("hangs", running(hang))
GARBLES = lever("garbles", running(garble))
ALLOCATES = lever("allocates", running(allocate))
RAISES_LATER = lever("raises_later", raises_later)
CANNOT_TELL = replace(ELSEWHERE, id="cannot_tell", applies=elsewhere_raises)
KILLS_AT_ONCE = replace(ELSEWHERE, id="kills_at_once", applies=elsewhere_kills)
AT_RANDOM = lever("at_random", at_random, exactness="lossy")
KILLS_BASELINE = lever("kills_baseline", kills_the_baseline)


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
