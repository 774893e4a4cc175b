"""Runs every model family on a GPU, in under ten minutes: `python -m benchmarks.gpu.run [--out DIR]`.

Each item is a process of its own with a time limit: one that runs out of memory or time is skipped with the reason, and the
results of the others stay. `--device cpu --sizes tiny` runs the same items on any machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmprof.tracer.families import families

if TYPE_CHECKING:
    from mmprof.tracer.workload import Family, Size

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = Path(__file__).parent / "out"
SCHEMA: Final = "mmprof.gpu-benchmark/1"
LIMIT_S: Final = 560.0
ITEM_LIMIT_S: Final = 110.0
LEAST_S: Final = 5.0
"""What is left of the limit must be more than this for another item to begin: importing torch takes as long."""

_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_SHARE_FOR_WEIGHTS: Final = 0.8
# Whole requests of these take a minute and millions of events without a graph; the length is in every result.
_SHORTER: Final = {
    ("llama", "full"): 64,
    ("chameleon", "full"): 64,
    ("chameleon", "small"): 64,
    ("diffusion", "full"): 10,
}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        out: Where results go.
        device: A torch device.
        memory_bytes: Memory of that device.
        names: Families.
        sizes: Their sizes, the first before the others.
        limit_s: Seconds for all items together.
        item_limit_s: Seconds for one.
    """

    out: Path
    device: str
    memory_bytes: int
    names: Sequence[str]
    sizes: Sequence[str]
    limit_s: float = LIMIT_S
    item_limit_s: float = ITEM_LIMIT_S

    @property
    def dtype(self) -> str:
        return "float32" if self.device == "cpu" else "bfloat16"


@dataclass(frozen=True)
class Item:
    """One process.

    Attributes:
        name: What it measures.
        commands: Arguments for Python, one command after the other.
        result: The JSON document that it writes; empty for none.
        reason: Why it is not run; empty to run it.
    """

    name: str
    commands: Sequence[Sequence[str]]
    result: str = ""
    reason: str = ""


@dataclass
class Outcome:
    """What became of an item.

    Attributes:
        seconds: How long it took.
        reason: Why it was skipped; empty where it was not.
        result: The document that it wrote.
    """

    name: str
    seconds: float = 0.0
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def items(plan: Plan) -> Iterator[Item]:
    """What to run, the most telling first."""
    known = families()
    first, *others = [[_family(plan, known[n], size) for n in plan.names] for size in plan.sizes]
    yield from first
    yield _twins(plan)
    yield Item("fixtures", [_fixtures(plan)])
    for listed in others:
        yield from listed


def run(plan: Plan) -> list[Outcome]:
    """Run all items, and write what is known after each."""
    plan.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + plan.limit_s
    outcomes: list[Outcome] = []
    for item in items(plan):
        outcomes.append(_run(item, plan, end))
        _write(plan, outcomes)
        said = outcomes[-1].reason or "done"
        print(f"{item.name}: {said} ({outcomes[-1].seconds:.0f} s)", file=sys.stderr, flush=True)
    return outcomes


def _family(plan: Plan, family: Family, size_name: str) -> Item:
    """The characterization of one family at one size; sweeps only at the first size."""
    name = f"{family.name}-{size_name}"
    size = next((size for size in family.sizes if size.name == size_name), None)
    if size is None:
        return Item(name, [], reason=f"{family.name} has no size {size_name}")
    if reason := _too_large(plan, size):
        return Item(name, [], reason=reason)
    result = f"{name}.json"
    sweeps = [f"--sweep={axis}" for axis in ("length", "batch")] * (size_name == plan.sizes[0])
    shorter = _SHORTER.get((family.name, size_name))
    command = [
        *("-m", "mmprof", "characterize", family.name, f"--size={size_name}"),
        *(f"--device={plan.device}", f"--dtype={plan.dtype}", "--recordings=1", "--repeats=3"),
        *(f"--traces={plan.out / 'traces'}", "--force", "--format=json", f"-o{plan.out / result}"),
        *sweeps,
        *([f"--output-length={shorter}"] if shorter else []),
    ]
    return Item(name, [command], result)


def _too_large(plan: Plan, size: Size) -> str:
    weights = size.parameters * _BYTES[plan.dtype]
    if weights <= _SHARE_FOR_WEIGHTS * plan.memory_bytes:
        return ""
    return (
        f"{weights / 2**30:.1f} GiB of weights, the device has {plan.memory_bytes / 2**30:.1f} GiB"
    )


def _twins(plan: Plan) -> Item:
    """A decode as a CUDA graph, read with its eager twin."""
    if not plan.device.startswith("cuda"):
        return Item("graph-twins", [], reason="CUDA graphs need CUDA")
    eager, graph = (
        str(plan.out / "traces" / f"llama-{kind}.json.gz") for kind in ("eager", "graph")
    )
    traced = ["-m", "mmprof", "trace", "--force", "--format=json"]
    result = "graph-twins.json"
    return Item(
        "graph-twins",
        [
            [*traced, "benchmarks.gpu.graph_twins:eager", f"-o{eager}"],
            [*traced, "benchmarks.gpu.graph_twins:graph", f"-o{graph}"],
            [
                "-m",
                "mmprof",
                "analyze",
                graph,
                f"--twin={eager}",
                f"-o{plan.out / result}",
                "--force",
            ],
        ],
        result,
    )


def _fixtures(plan: Plan) -> list[str]:
    folder = f"--folder={plan.out / 'fixtures'}"
    return ["-m", "fixtures.record", f"--device={plan.device}", folder, *plan.names]


def _run(item: Item, plan: Plan, end: float) -> Outcome:
    start = time.monotonic()
    if item.reason:
        return Outcome(item.name, reason=item.reason)
    if end - start < LEAST_S:
        return Outcome(item.name, reason="no time left")
    (plan.out / "traces").mkdir(exist_ok=True)
    deadline = min(end, start + plan.item_limit_s)
    reason = next(filter(None, (_failure(command, deadline) for command in item.commands)), "")
    seconds = time.monotonic() - start
    if reason or not item.result:
        return Outcome(item.name, seconds, reason)
    return Outcome(
        item.name, seconds, result=msgspec.json.decode((plan.out / item.result).read_bytes())
    )


def _failure(command: Sequence[str], deadline: float) -> str:
    """Why a command failed; empty where it did not."""
    left = max(deadline - time.monotonic(), 0.1)
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=left,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {left:.0f} s"
    if done.returncode == 0:
        return ""
    return (
        _told(done.stdout)
        or (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    )


def _told(output: str) -> str:
    """The message of an error document."""
    try:
        found = msgspec.json.decode(output, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return str(found.get("message", ""))


def _write(plan: Plan, outcomes: Sequence[Outcome]) -> None:
    document = {"schema": SCHEMA, "device": plan.device, "items": [vars(o) for o in outcomes]}
    (plan.out / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    (plan.out / "results.md").write_text(_markdown(outcomes), encoding="utf-8")


def _markdown(outcomes: Sequence[Outcome]) -> str:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.characterization import RENDERERS
    from mmprof.cli.renderers.safe import markdown_text
    from mmprof.tracer.characterize_results import SCHEMA as CHARACTERIZATION
    from mmprof.tracer.characterize_results import Characterization

    lines = ["| item | seconds | skipped because |", "| --- | ---: | --- |"]
    lines += [f"| {o.name} | {o.seconds:.0f} | {markdown_text(o.reason)} |" for o in outcomes]
    pages = [
        f"## {o.name}\n\n"
        + RENDERERS["markdown"](msgspec.convert(o.result, Characterization), RenderOptions())
        for o in outcomes
        if o.result.get("schema") == CHARACTERIZATION
    ]
    return "\n\n".join(["\n".join(lines), *pages]) + "\n"


def _plan(arguments: argparse.Namespace) -> Plan:
    """The plan of the command line; ends the process where there is no such device."""
    import torch

    from mmprof.tracer.devices import accelerator
    from mmprof.tracer.machine import device_facts

    device = accelerator() if arguments.device == "auto" else arguments.device
    if not device or (device != "cpu" and not accelerator()):
        print(
            f"error: no GPU here (torch {torch.__version__})\n"
            "try: --device cpu --sizes tiny, which runs the same items on the CPU",
            file=sys.stderr,
        )
        raise SystemExit(2)
    memory = device_facts(device).memory_bytes or 0
    names = arguments.families or list(families())
    return Plan(
        arguments.out.resolve(),
        device,
        memory,
        names,
        arguments.sizes,
        arguments.limit,
        arguments.item_limit,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or xpu")
    parser.add_argument("--sizes", nargs="+", default=["small", "full"], metavar="SIZE")
    parser.add_argument("--families", nargs="+", metavar="FAMILY")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for all items")
    parser.add_argument("--item-limit", type=float, default=ITEM_LIMIT_S, help="seconds for one")
    outcomes = run(_plan(parser.parse_args()))
    raise SystemExit(0 if any(not outcome.reason for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
