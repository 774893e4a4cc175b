"""Whether the program that `mmprof optimize --emit` writes is as fast as what was verified.

usage: python -m benchmarks.emitted [--processes 6] -- llama --size tiny --budget 3m

What follows `--` are arguments of `mmprof optimize`. The program and the same program without levers run in turn, each run a fresh
process, and their speedup is compared with the last rung of the ladder. Exit code 1 where the two intervals do not meet.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from mmprof.tracer.verify_results import Rung, Verification
from mmprof.tracer.verify_statistics import Speedup, speedup_of

_LEVERS: Final = re.compile(r"^LEVERS = .*$", re.MULTILINE)
_TOLD: Final = re.compile(r"median of \d+ requests ([\d.]+) ms")


def optimized(arguments: Sequence[str], program: Path) -> Verification:
    """What `mmprof optimize` finds; its program is written.

    The store is a new one: what another hour of the machine measured says nothing of this one.
    """
    command = [sys.executable, "-m", "mmprof", "optimize", *arguments, "--format=json"]
    kept = [f"--emit={program}", f"--store={program.with_name('runs')}"]
    done = subprocess.run([*command, *kept], check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Verification)


def without_levers(program: Path) -> Path:
    """The same program with no levers, beside it."""
    bare = program.with_name("bare.py")
    text, found = _LEVERS.subn("LEVERS = []", program.read_text())
    assert found == 1, f"{program} has no list of levers"
    bare.write_text(text)
    return bare


def request_s(program: Path) -> float:
    """Seconds of a request, as a fresh process of the program says.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    done = subprocess.run(
        [sys.executable, str(program)], check=True, stdout=subprocess.PIPE, text=True
    )
    told = _TOLD.search(done.stdout)
    assert told, done.stdout
    return float(told[1]) / 1e3


def speedup(program: Path, processes: int) -> Speedup:
    """How much faster the program is than without levers, by processes in turn, the order flipped every round."""
    bare = without_levers(program)
    pairs = []
    for number in range(processes):
        order = (bare, program) if number % 2 == 0 else (program, bare)
        took_s = {each: request_s(each) for each in order}
        pairs.append((took_s[bare], took_s[program]))
    return speedup_of([slow for slow, _ in pairs], [fast for _, fast in pairs], seed=0)


def meets(own: Speedup, rung: Rung) -> bool:
    """Whether the program's interval and the verified one have a value in common."""
    assert rung.interval is not None
    low, high = rung.interval
    return own.low <= high and low <= own.high


def main() -> None:
    """Optimize, run what was emitted, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmprof-") as folder:
        program = Path(folder, "optimized.py")
        found = optimized(asked.arguments, program)
        if not found.ladder:
            sys.stdout.write("nothing was verified: there is nothing to compare\n")
            return
        own, rung = speedup(program, asked.processes), found.ladder[-1]
    assert rung.speedup is not None
    assert rung.interval is not None
    sys.stdout.write(
        f"{' + '.join(rung.levers)}: verified {rung.speedup:.3f}x ({rung.interval[0]:.3f}x to {rung.interval[1]:.3f}x), "
        f"emitted {own.median:.3f}x ({own.low:.3f}x to {own.high:.3f}x)\n"
    )
    if not meets(own, rung):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
