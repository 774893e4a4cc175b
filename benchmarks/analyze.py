"""What `mmprof analyze` costs, as ratios against a physical limit and a peer in one run.

usage: python benchmarks/analyze.py BIG.json.gz [--eighth X.json.gz] [--small QWEN.json.gz] [--hta PYTHON] [--runs N]

BIG is a trace of about a million events: `tools/scale_trace.py` of the shared material, or `benchmarks/big_trace.py`,
makes one. `--hta` names a Python interpreter that has HolisticTraceAnalysis.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path

from paired import Compared, compare, median_wall_s, peak_bytes

HTA = """
import shutil, sys, tempfile, os
os.environ["HTA_DISABLE_NS_ROUNDING"] = "1"
from hta.trace_analysis import TraceAnalysis
t = TraceAnalysis(trace_files={0: sys.argv[1]})
t.get_temporal_breakdown(visualize=False)
t.get_gpu_kernel_breakdown(visualize=False)
t.get_idle_time_breakdown(ranks=[0], visualize=False)
t.get_cuda_kernel_launch_stats(ranks=[0], visualize=False)
t.get_queue_length_summary(ranks=[0])
"""


def mmprof(*arguments: str) -> list[str]:
    """The command line of this environment's mmprof."""
    return [str(Path(sys.executable).with_name("mmprof")), *arguments]


def plain_bytes(path: str) -> int:
    """Uncompressed size of a gzipped file."""
    with gzip.open(path) as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))


def against_gzip(big: str, runs: int) -> dict[str, object]:
    """Time against unzipping the same file; memory against its uncompressed size."""
    result = compare(mmprof("analyze", big), ["gzip", "-dc", big], runs=runs)
    return {
        "analyze_s": median_wall_s(result.a),
        "gzip_dc_s": median_wall_s(result.b),
        "ratio_min_median_max": result.ratio(),
        "peak_over_plain_bytes": peak_bytes(result.a) / plain_bytes(big),
        "analyze_cpu_s": sorted(r.cpu_s for r in result.a)[len(result.a) // 2],
    }


def against_hta(big: str, python: str, runs: int) -> dict[str, object]:
    """Time against HTA's load and its five standard analyses."""
    result = compare([python, "-c", HTA, big], mmprof("analyze", big), runs=runs, warmup=0)
    return {
        "hta_s": median_wall_s(result.a),
        "analyze_s": median_wall_s(result.b),
        "ratio_min_median_max": result.ratio(),
    }


def growth(big: str, eighth: str, runs: int) -> dict[str, object]:
    """Time of the whole trace against an eighth of its events."""
    result: Compared = compare(mmprof("analyze", big), mmprof("analyze", eighth), runs=runs)
    return {"ratio_min_median_max": result.ratio(), "limit": 8.5}


def latency(small: str | None, runs: int) -> dict[str, object]:
    """Milliseconds of `--help` and of a small trace, against starting Python."""
    help_ = compare(mmprof("--help"), [sys.executable, "-c", "pass"], runs=4 * runs)
    found: dict[str, object] = {
        "help_ms": 1e3 * median_wall_s(help_.a),
        "python_ms": 1e3 * median_wall_s(help_.b),
    }
    if small:
        one = compare(mmprof("analyze", small), [sys.executable, "-c", "pass"], runs=2 * runs)
        found["small_analyze_s"] = median_wall_s(one.a)
    return found


def main() -> None:
    """Measure what was asked for and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("big")
    parser.add_argument("--eighth")
    parser.add_argument("--small")
    parser.add_argument("--hta", metavar="PYTHON")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    found = {
        "against_gzip": against_gzip(asked.big, asked.runs),
        "latency": latency(asked.small, asked.runs),
    }
    if asked.eighth:
        found["growth"] = growth(asked.big, asked.eighth, asked.runs)
    if asked.hta:
        found["against_hta"] = against_hta(asked.big, asked.hta, max(1, asked.runs // 2))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
