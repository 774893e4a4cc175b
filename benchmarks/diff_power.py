"""How often `mmprof diff` calls a row changed: where nothing changed, and where one row did.

usage: python benchmarks/diff_power.py [--trials N] [--steps 5 10 20 50] [--write docs/significance.md]
       python benchmarks/diff_power.py --real 'mmprof trace llama --size tiny --no-ceilings -o' --traces 5

The sides are synthetic and seeded, so the tables are the same on every machine. With `--real` the command is run
`--traces` times for each side, in turn, with the name of a trace appended, and `mmprof diff` compares the sides.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from mmprof.analyzers.diff.certainty import surest
from mmprof.analyzers.diff.drift import beyond_drift, shared_move
from mmprof.analyzers.diff.result import Row
from mmprof.analyzers.diff.significance import Judged, Series, judge

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fixtures.builder import TraceBuilder  # noqa: E402

KERNELS = 60
CLASSES = 8
SHORTEST_NS, LONGEST_NS = 2e3, 2e6
CHANGES = (0.05, 0.10, 0.20)
END_TO_END = 10
MARK = "<!-- results -->"


@dataclass(frozen=True, slots=True)
class Noise:
    """Deviations of the logarithms of durations, unless said otherwise; docs/significance.md has the reasons."""

    step: float = 0.01
    kernel: float = 0.02
    drift: float = 0.005
    persistence: float = 0.9
    outlier_share: float = 0.02
    outlier_stretch: float = 0.5
    tick_ns: int = 32


@dataclass(slots=True)
class Process:
    """One process that runs steps, with what disturbs all kernels of a step alike."""

    noise: Noise
    draw: random.Random
    drift: float = field(init=False)

    def __post_init__(self) -> None:
        self.drift = self.draw.gauss(0, self.noise.drift)

    def step(self, kernels_ns: Sequence[float]) -> list[int]:
        """What each kernel takes in the next step."""
        noise, gauss = self.noise, self.draw.gauss
        fresh = math.sqrt(1 - noise.persistence**2) * noise.drift
        self.drift = noise.persistence * self.drift + gauss(0, fresh)
        disturbed = self.draw.random() < noise.outlier_share
        stretch = 1 + self.draw.expovariate(1 / noise.outlier_stretch) if disturbed else 1
        factor = stretch * math.exp(self.drift + gauss(0, noise.step))
        return [self._ticks(ns * factor * math.exp(gauss(0, noise.kernel))) for ns in kernels_ns]

    def _ticks(self, ns: float) -> int:
        return self.noise.tick_ns * max(1, round(ns / self.noise.tick_ns))


Side = list[tuple[int, ...]]
Rows = dict[tuple[str, str], Series]
Recording = Callable[[Sequence[float], int, Noise, random.Random], Side]


def one_trace(kernels_ns: Sequence[float], samples: int, noise: Noise, draw: random.Random) -> Side:
    """The steps of one process."""
    process = Process(noise, draw)
    return list(zip(*(process.step(kernels_ns) for _ in range(samples)), strict=True))


def a_trace_each(
    kernels_ns: Sequence[float], samples: int, noise: Noise, draw: random.Random
) -> Side:
    """One step of each of several processes."""
    steps = (Process(noise, draw).step(kernels_ns) for _ in range(samples))
    return list(zip(*steps, strict=True))


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the sides of a trial come about; `change` is that of one kernel, drawn anew in each trial."""

    noise: Noise = Noise()
    recording: Recording = one_trace
    change: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What was said of one pair of sides; the kernel that changed is `planted`, and took `planted_ns` before."""

    judged: dict[tuple[str, str], Judged]
    planted: str
    planted_ns: float

    def called(self, level: str) -> set[str]:
        """Rows of a level that are called changed."""
        return {row for (of, row), j in self.judged.items() if of == level and j.significant}

    def first(self, level: str) -> str:
        """The row of a level that is named as the surest change; empty where none is called."""
        rows = [
            Row(row, 0, j.delta_ns, j.delta_ns, significant=j.significant, p=j.p)
            for (of, row), j in self.judged.items()
            if of == level
        ]
        return next(iter(surest(rows)), "")

    def longest(self, level: str) -> str:
        """The called row of a level that moved by the most nanoseconds; empty where none is called."""
        moved = {row: abs(self.judged[level, row].delta_ns) for row in self.called(level)}
        return max(moved, key=moved.__getitem__, default="")

    def share(self) -> float:
        """The share of all rows that are called changed."""
        return fmean(bool(j.significant) for j in self.judged.values())

    def silent(self) -> bool:
        """No verdict on the planted row."""
        return self.judged["kernel", self.planted].significant is None

    def detectable(self) -> float | None:
        """The change of the planted row that could be found, as a share of its time."""
        detectable_ns = self.judged["kernel", self.planted].detectable_ns
        return None if detectable_ns is None else detectable_ns / self.planted_ns


def rows_of(before: Side, after: Side) -> Rows:
    """The rows of a diff: the total, classes of kernels, kernels."""
    rows: Rows = {("total", "total"): Series(summed(before), summed(after))}
    for c in range(CLASSES):
        rows["class", str(c)] = Series(summed(before[c::CLASSES]), summed(after[c::CLASSES]))
    for k, pair in enumerate(zip(before, after, strict=True)):
        rows["kernel", str(k)] = Series(*pair)
    return rows


def summed(kernels: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Their sums, step by step."""
    return tuple(map(sum, zip(*kernels, strict=True)))


def sides(scenario: Scenario, samples: int, draw: random.Random) -> tuple[int, Side, Side]:
    """The number of the planted kernel, and the samples of all kernels before and after."""
    span = math.log(SHORTEST_NS), math.log(LONGEST_NS)
    before_ns = [math.exp(draw.uniform(*span)) for _ in range(KERNELS)]
    planted = draw.randrange(KERNELS)
    after_ns = [ns * (1 + scenario.change * (k == planted)) for k, ns in enumerate(before_ns)]
    before, after = (
        scenario.recording(ns, samples, scenario.noise, draw) for ns in (before_ns, after_ns)
    )
    return planted, before, after


def trials(scenario: Scenario, samples: int, *, repeats: int) -> list[Trial]:
    """Judge many pairs of sides in one call, a family of rows for each level of each pair."""
    together: dict[tuple[str, str], Series] = {}
    planted: list[tuple[str, float]] = []
    rows: list[Rows] = []
    for trial in range(repeats):
        kernel, before, after = sides(scenario, samples, random.Random(f"{trial} {samples}"))
        planted.append((str(kernel), median(before[kernel])))
        rows.append(rows_of(before, after))
        for (level, row), series in rows[trial].items():
            together[f"{trial} {level}", row] = series
    judged: list[dict[tuple[str, str], Judged]] = [{} for _ in range(repeats)]
    for (family, row), verdict in judge(together).items():
        trial_number, level = family.split()
        judged[int(trial_number)][level, row] = verdict
    if scenario.recording is one_trace:  # as in a diff: traces that are samples show their drift
        judged = [without_drift(*trial) for trial in zip(judged, rows, strict=True)]
    return [Trial(found, *kernel) for found, kernel in zip(judged, planted, strict=True)]


def without_drift(
    judged: dict[tuple[str, str], Judged], rows: Rows
) -> dict[tuple[str, str], Judged]:
    """The verdicts of one trial without those on what all kernels share."""
    kernels = (series for (level, _), series in rows.items() if level == "kernel")
    return beyond_drift(judged, rows, shared_move(kernels))


def percent(values: Iterable[bool | float]) -> str:
    """A mean as a share of hundred."""
    return f"{100 * fmean(values):.1f} %"


def equal_sides(samples: Sequence[int], repeats: int) -> list[list[str]]:
    """A/A: what is called changed although nothing is."""
    drifting = replace(Noise(), drift=0.01)
    scenarios = {
        "steps of one trace": Scenario(),
        "steps of one trace, drift doubled": Scenario(drifting),
        "a trace each, drift doubled": Scenario(drifting, a_trace_each),
    }
    table = [
        ["samples are", "a side", "rows", "kernels", "classes", "total", "trials with any row"]
    ]
    for name, scenario in scenarios.items():
        for n in samples:
            found = trials(scenario, n, repeats=repeats)
            shares = [
                percent(len(t.called(level)) / size for t in found)
                for level, size in (("kernel", KERNELS), ("class", CLASSES), ("total", 1))
            ]
            any_row = percent(t.share() > 0 for t in found)
            table.append([name, str(n), percent(t.share() for t in found), *shares, any_row])
    return table


def planted_changes(samples: Sequence[int], repeats: int) -> list[list[str]]:
    """One kernel changed: how often it is found, and found first."""
    table = [
        [
            "change",
            "a side",
            "found",
            "named first",
            "moved most of those called",
            "no verdict",
            "other kernels called",
        ]
    ]
    for change in CHANGES:
        for n in samples:
            found = trials(Scenario(change=change), n, repeats=repeats)
            table.append([f"{change:.0%}".replace("%", " %"), str(n), *outcome(found)])
    return table


def outcome(found: Sequence[Trial]) -> list[str]:
    """Shares of the trials."""
    hits = [t for t in found if t.planted in t.called("kernel")]
    others = [len(set(t.called("kernel")) - {t.planted}) / (KERNELS - 1) for t in found]
    ranked = [
        percent(first(t, "kernel") == t.planted for t in hits) + " of these" if hits else "-"
        for first in (Trial.first, Trial.longest)
    ]
    return [
        percent(t.planted in t.called("kernel") for t in found),
        *ranked,
        percent(t.silent() for t in found),
        percent(others),
    ]


def calibration(samples: Sequence[int], repeats: int) -> list[list[str]]:
    """Is `detectable_ns` what is detected in four of five? Its median, and how often a change of it is found."""
    table = [["a side", "detectable, of the kernel's time", "found"]]
    for n in samples:
        aside = trials(Scenario(), n, repeats=repeats)
        shares = [share for t in aside if (share := t.detectable()) is not None]
        if not shares:
            table.append([str(n), "none", "-"])
            continue
        change = median(shares)
        found = trials(Scenario(change=change), n, repeats=repeats)
        table.append([str(n), f"{100 * change:.1f} %", outcome(found)[0]])
    return table


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A markdown table, its first row the header."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def tables(samples: Sequence[int], repeats: int) -> str:
    """All tables of the page."""
    parts = {
        f"Nothing changed ({repeats} trials a line)": equal_sides,
        f"One of {KERNELS} kernels changed ({repeats} trials a line)": planted_changes,
        f"The change that is printed as detectable ({repeats} trials a line)": calibration,
    }
    shown = {name: of(samples, repeats) for name, of in parts.items()}
    whole = min(repeats, END_TO_END)
    shown["A kernel 10 % slower, in whole traces"] = end_to_end(samples, whole)
    return "\n\n".join(f"### {name}\n\n{markdown(table)}" for name, table in shown.items())


def write(page: Path, text: str) -> None:
    """Replace what lies between the marks of a page."""
    head, _, tail = page.read_text().split(MARK)
    page.write_text(f"{head}{MARK}\n\n{text}\n\n{MARK}{tail}")


def real(command: str, traces: int) -> str:
    """Record both sides with the same command, in turn, and let `mmprof diff` compare them."""
    with tempfile.TemporaryDirectory() as folder:
        names = {side: [f"{folder}/{side}{i}.json.gz" for i in range(traces)] for side in "ab"}
        for pair in zip(*names.values(), strict=True):
            for name in pair:
                subprocess.run([*shlex.split(command), name], check=True, stdout=subprocess.DEVNULL)
        return markdown(called_by_level(diff_of([*names["a"], "--", *names["b"]])))


def built(side: Side, path: Path) -> None:
    """A trace whose kernels take these times, step by step, each launched in time by an operator of its own."""
    t, at = TraceBuilder(), 0
    for number, step in enumerate(zip(*side, strict=True)):
        start = at
        for kernel, ns in enumerate(step):
            op = t.op(f"bench::op{kernel}", at, at + 2_000, dims=[[8]], types=["float"])
            with op:
                t.launch(
                    f"kernel{kernel}",
                    at=at + 500,
                    call_ns=1_000,
                    kernel=(at + 2_000, at + 2_000 + ns),
                )
            at += 2_000 + ns
        t.annotation(f"ProfilerStep#{number}", start, at)
    t.write(path)


def end_to_end(samples: Sequence[int], repeats: int) -> list[list[str]]:
    """Whole traces through `mmprof diff`: one kernel of them a tenth slower."""
    table = [["a side", "traces", "planted kernel found", "named first"]]
    for n in samples:
        found = [
            diffed(Scenario(change=0.10), n, random.Random(f"{r} {n}")) for r in range(repeats)
        ]
        hits = [planted in rows for planted, rows in found]
        first = [bool(rows) and rows[0] == planted for planted, rows in found]
        table.append([str(n), str(2 * repeats), percent(hits), percent(first)])
    return table


def diffed(scenario: Scenario, samples: int, draw: random.Random) -> tuple[str, list[str]]:
    """The planted kernel, and the kernels that `mmprof diff` calls changed, the surest first."""
    planted, before, after = sides(scenario, samples, draw)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("before.json.gz", "after.json.gz")]
        for kernels, path in zip((before, after), paths, strict=True):
            built(kernels, path)
        return f"kernel{planted}", diff_of(map(str, paths))["surest"]["kernel"]


def diff_of(arguments: Iterable[str]) -> dict[str, Any]:
    """What `mmprof diff` says, as JSON."""
    mmprof = str(Path(sys.executable).with_name("mmprof"))
    command = [mmprof, "diff", *arguments, "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def called_by_level(diff: dict[str, Any]) -> list[list[str]]:
    """Rows of a diff, and how many of them are called changed."""
    table = [["level", "rows", "called changed"]]
    for level, rows in diff["levels"].items():
        table.append([level, str(len(rows)), str(sum(row["significant"] is True for row in rows))])
    return table


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--real", metavar="COMMAND")
    parser.add_argument("--traces", type=int, default=5)
    asked = parser.parse_args()
    text = real(asked.real, asked.traces) if asked.real else tables(asked.steps, asked.trials)
    if asked.write:
        write(asked.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
