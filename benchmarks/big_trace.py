"""Write a big trace: repeated steps of a synthetic eager model, as libkineto writes them.

usage: python benchmarks/big_trace.py OUT.json.gz COPIES       (a copy is about 69,000 events)
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fixtures.builder import TraceBuilder  # noqa: E402

STEPS_PER_COPY = 5
OPERATORS_PER_STEP = 2_300
PERIOD_NS = 20_000


def step(t: TraceBuilder, number: int) -> None:
    """One step: operators in pairs of an outer and an inner one, each with a launch and a kernel."""
    origin = number * OPERATORS_PER_STEP * PERIOD_NS
    for i in range(OPERATORS_PER_STEP):
        at = origin + i * PERIOD_NS
        with t.op("aten::linear", at, at + 15_000), t.op("aten::addmm", at + 1_000, at + 14_000):
            t.launch(
                f"gemm_{i % 40}", at=at + 5_000, call_ns=4_000, kernel=(at + 10_000, at + 19_000)
            )
    t.annotation(f"ProfilerStep#{number}", origin, origin + OPERATORS_PER_STEP * PERIOD_NS - 1)


def main(out: str, copies: str) -> None:
    """Write the trace."""
    t = TraceBuilder()
    for number in range(STEPS_PER_COPY * int(copies)):
        step(t, number)
    t.write(Path(out))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
