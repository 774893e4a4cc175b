"""What tracing costs over plain torch.profiler, and whether the un-profiled time is the time of an untraced run.

usage: python benchmarks/tracing.py [FAMILY ...] [--size small] [--rounds N]

Four ways to run the same request take turns in one process: plain torch.profiler with the same options, the tracer without and
with module paths, and no profiler at all. Ratios are taken round by round. The sidecar's un-profiled interval comes from
`mmprof trace` in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from torch.profiler import profile

from mmprof.tracer.devices import activities_of, resolve_device, synchronize
from mmprof.tracer.families import families, request_for
from mmprof.tracer.order import Wish
from mmprof.tracer.recorder import Recorder, options_for
from mmprof.tracer.workload import Workload

Way = Callable[[], float]


def plain_profiler(workload: Workload, device: str) -> float:
    """Seconds of a request under torch.profiler alone."""
    with profile(activities=activities_of(device), record_shapes=True):
        return untraced(workload, device)


def untraced(workload: Workload, device: str) -> float:
    """Seconds of a request as the caller finds it."""
    synchronize(device)
    start = time.perf_counter()
    workload.run()
    synchronize(device)
    return time.perf_counter() - start


def traced(workload: Workload, device: str, *, modules: bool) -> float:
    """Seconds of a request under the tracer."""
    recorder = Recorder(device, options_for(device, modules=modules), models=workload.models)
    recorder.start()
    workload.run()
    recorder.stop()
    return recorder.elapsed_s


def rounds(ways: dict[str, Way], count: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, the order turned every round; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(count + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(ways[name]())
    return {name: found[1:] for name, found in seconds.items()}


def ratio(a: list[float], b: list[float]) -> list[float]:
    """Smallest, median and largest ratio a / b over the rounds."""
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    return [round(r, 3) for r in (ratios[0], median(ratios), ratios[-1])]


def sidecar_timing(family: str, size: str) -> dict[str, object]:
    """The un-profiled time that `mmprof trace` finds in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json.gz"
        mmprof = str(Path(sys.executable).with_name("mmprof"))
        options = ["--size", size, "--no-ceilings", "-o", str(trace)]
        subprocess.run([mmprof, "trace", family, *options], check=True, capture_output=True)
        return json.loads(trace.with_name(trace.name + ".mmprof.json").read_text())["timing"]


def measure(family: str, size: str, count: int) -> dict[str, object]:
    """All ratios of one family."""
    device = resolve_device("auto")
    known = families()[family]
    workload = known.build(request_for(known, Wish(size=size), device))
    ways: dict[str, Way] = {
        "untraced": lambda: untraced(workload, device),
        "plain": lambda: plain_profiler(workload, device),
        "tracer": lambda: traced(workload, device, modules=False),
        "modules": lambda: traced(workload, device, modules=True),
    }
    seconds = rounds(ways, count)
    return {
        "family": family,
        "size": size,
        "median_s": {name: round(median(found), 4) for name, found in seconds.items()},
        "tracer_over_plain": ratio(seconds["tracer"], seconds["plain"]),
        "modules_over_plain": ratio(seconds["modules"], seconds["plain"]),
        "untraced_s": [round(s, 4) for s in sorted(seconds["untraced"])],
        "sidecar": sidecar_timing(family, size),
    }


def main() -> None:
    """Print one JSON object a family."""
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    parser.add_argument("families", nargs="*", default=sorted(families()))
    parser.add_argument("--size", default="small")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for family in given.families:
        print(json.dumps(measure(family, given.size, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
