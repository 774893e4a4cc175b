"""Run commands in turn as whole processes and compare them pair by pair, so that a drifting machine does not decide."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: wall seconds, CPU seconds of it and its children, peak memory of its largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Runs of two commands, alternating."""

    a: list[Run]
    b: list[Run]

    def ratio(self) -> tuple[float, float, float]:
        """Smallest, median and largest ratio of wall times a / b over the pairs."""
        ratios = sorted(x.wall_s / y.wall_s for x, y in zip(self.a, self.b, strict=True))
        return ratios[0], median(ratios), ratios[-1]


def run(command: Sequence[str]) -> Run:
    """Run a command to its end, its output thrown away.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    if (code := os.waitstatus_to_exitcode(status)) not in (0, 1):
        raise subprocess.CalledProcessError(code, list(command))
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def compare(a: Sequence[str], b: Sequence[str], *, runs: int, warmup: int = 1) -> Compared:
    """Run two commands in turn, the order flipped every round."""
    for _ in range(warmup):
        run(a), run(b)
    pairs = []
    for i in range(runs):
        first, second = (run(a), run(b)) if i % 2 == 0 else (run(b), run(a))
        pairs.append((first, second) if i % 2 == 0 else (second, first))
    return Compared([p[0] for p in pairs], [p[1] for p in pairs])


def median_wall_s(runs: Sequence[Run]) -> float:
    """Median wall seconds."""
    return median(r.wall_s for r in runs)


def peak_bytes(runs: Sequence[Run]) -> int:
    """Largest peak memory."""
    return max(r.peak_bytes for r in runs)
