"""What tracing costs over plain torch.profiler, and whether the un-profiled time is the time of an untraced run.

usage: python benchmarks/tracing.py [FAMILY ...] [--size small] [--rounds N] [--pairs N]

Four ways to run the same request take turns in one process: plain torch.profiler with the same options, the tracer without and
with module paths, and no profiler at all. Ratios are taken round by round. The sidecar's un-profiled interval comes from
`mmprof trace` in a process of its own, and is compared with untraced requests in another. On a machine with other work these ratios move by more than what they are to show:
`annotations_share`, the calls of modules times what one annotation costs, is steadier.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.profiler import profile

from mmprof.tracer.devices import activities_of, resolve_device, synchronize
from mmprof.tracer.families import families, request_for
from mmprof.tracer.order import Wish
from mmprof.tracer.recorder import Recorder, options_for
from mmprof.tracer.timing import summarized
from mmprof.tracer.workload import Workload

Way = Callable[[], float]


def plain_profiler(workload: Workload, device: str) -> float:
    """Cost of a request under torch.profiler alone."""
    with profile(activities=activities_of(device), record_shapes=True):
        return cost(workload, device)


def cost(workload: Workload, device: str) -> float:
    """Seconds of a request: of the processor where that does all the work, which other work on the machine moves less."""
    if device != "cpu":
        return untraced(workload, device)
    start = time.process_time()
    workload.run()
    return time.process_time() - start


def untraced(workload: Workload, device: str) -> float:
    """Seconds of a request as the caller finds it."""
    synchronize(device)
    start = time.perf_counter()
    workload.run()
    synchronize(device)
    return time.perf_counter() - start


def traced(workload: Workload, device: str, *, modules: bool) -> float:
    """Cost of a request under the tracer."""
    recorder = Recorder(device, options_for(device, modules=modules), models=workload.models)
    recorder.start()
    seconds = cost(workload, device)
    recorder.stop()
    return seconds


def rounds(ways: dict[str, Way], count: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, the order turned every round; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(count + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(ways[name]())
    return {name: found[1:] for name, found in seconds.items()}


def annotation_s() -> float:
    """What annotating one module call costs: the best of several passes through modules that do nothing."""
    model = torch.nn.Sequential(*[torch.nn.Identity() for _ in range(2000)])

    def best(*, modules: bool) -> float:
        recorder = Recorder("cpu", options_for("cpu", modules=modules), models={"": model})
        recorder.start()
        found = min(cost(Workload("empty", {}, lambda: model(0)), "cpu") for _ in range(5))
        recorder.stop()
        return found

    return (best(modules=True) - best(modules=False)) / 2001


def module_calls(workload: Workload) -> int:
    """Forward calls of modules in one request."""
    calls = itertools.count()
    modules = [module for model in workload.models.values() for module in model.modules()]
    hooks = [
        module.register_forward_pre_hook(lambda *_: next(calls) * 0 or None) for module in modules
    ]
    workload.run()
    for hook in hooks:
        hook.remove()
    return next(calls)


def ratio(a: list[float], b: list[float]) -> list[float]:
    """Smallest, median and largest ratio a / b over the rounds."""
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    return [round(r, 3) for r in (ratios[0], median(ratios), ratios[-1])]


def sidecar_timing(family: str, size: str) -> dict[str, Any]:
    """The un-profiled time that `mmprof trace` finds in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json.gz"
        mmprof = str(Path(sys.executable).with_name("mmprof"))
        options = ["--size", size, "--no-ceilings", "-o", str(trace)]
        subprocess.run([mmprof, "trace", family, *options], check=True, capture_output=True)
        return json.loads(trace.with_name(trace.name + ".mmprof.json").read_text())["timing"]


def fresh_untraced(family: str, size: str) -> list[float]:
    """Seconds of requests in a process of its own without a tracer, after one warm-up as `mmprof trace` does it."""
    command = [sys.executable, __file__, family, "--size", size, "--untraced"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def agreement(family: str, size: str, pairs: int) -> list[dict[str, object]]:
    """Of processes in turn, whether an untraced median lies in the sidecar's interval, and in that of another untraced process.

    The second answer is the control: how often processes agree that differ in nothing.
    """
    found = []
    for _ in range(pairs):
        timing, runs = sidecar_timing(family, size), fresh_untraced(family, size)
        again = summarized(fresh_untraced(family, size), [])
        sidecar, control = Interval(*timing["interval_s"]), Interval(*again.interval_s)
        found.append(
            {
                "sidecar_s": sidecar.rounded(timing["median_s"]),
                "untraced_s": Interval(min(runs), max(runs)).rounded(median(runs)),
                "again_s": control.rounded(again.median_s),
                "median_in_sidecar": sidecar.holds(median(runs)),
                "median_in_control": control.holds(median(runs)),
            }
        )
    return found


class Interval(NamedTuple):
    """Seconds from `low` to `high`."""

    low: float
    high: float

    def holds(self, seconds: float) -> bool:
        """Whether it contains a time."""
        return self.low <= seconds <= self.high

    def rounded(self, middle: float) -> list[float]:
        """Low, middle and high for a table."""
        return [round(s, 4) for s in (self.low, middle, self.high)]


def built(family: str, size: str) -> tuple[Workload, str]:
    """The workload of a family, and its device."""
    device, known = resolve_device("auto"), families()[family]
    return known.build(request_for(known, Wish(size=size), device)), device


def untraced_requests(family: str, size: str, count: int = 6) -> list[float]:
    """Seconds of requests after one to warm up."""
    workload, device = built(family, size)
    return [untraced(workload, device) for _ in range(count + 1)][1:]


def measure(family: str, size: str, count: int, pairs: int) -> dict[str, object]:
    """All ratios of one family."""
    workload, device = built(family, size)
    ways: dict[str, Way] = {
        "untraced": lambda: cost(workload, device),
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
        "module_calls": (calls := module_calls(workload)),
        "annotations_share": round(calls * annotation_s() / min(seconds["plain"]), 4),
        "sidecar_against_untraced": agreement(family, size, pairs),
    }


def main() -> None:
    """Print one JSON object a family."""
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    parser.add_argument("families", nargs="*", default=sorted(families()))
    parser.add_argument("--size", default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--untraced", action="store_true", help="only time six plain requests")
    given = parser.parse_args()
    if given.untraced:
        print(json.dumps(untraced_requests(given.families[0], given.size)))
        return
    for family in given.families:
        print(json.dumps(measure(family, given.size, given.rounds, given.pairs)), flush=True)


if __name__ == "__main__":
    main()
