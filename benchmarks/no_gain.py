"""How often `mmprof verify` finds a gain where there is none: a lever that changes nothing, in many trials.

usage: python -m benchmarks.no_gain [--trials 100] [--store FILE] [--max-time S] [--write docs/verification.md]

Each trial is a verification of its own: three fresh processes (the baseline, its twin, the lever `none`). A trial is kept as it ends;
the same command goes on where it was stopped. Trials of another machine, version or setting are not counted.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from mmprof.tracer.families import families
from mmprof.tracer.lever_registry import NONE
from mmprof.tracer.optimization.json_lines import append_record, read_records
from mmprof.tracer.order import Subject, Wish
from mmprof.tracer.verify import Trials, verify
from mmprof.tracer.verify_results import LeverResult, Verdict, Verification
from mmprof.tracer.verify_sides import Effort

MARK: Final = "<!-- no gain -->"
STORE: Final = Path(".mmprof/no-gain.jsonl")
NORMAL_95: Final = 1.96


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one verification of nothing said.

    Attributes:
        setting: What was run, on what and how; only equal ones are counted together.
        verdict: Of the lever that is none.
        speedup: Median ratio.
        interval: Its 95 % interval, with what two processes differ.
        noise: Factor by which the baseline and its twin may differ.
        pairs: Pairs of runs.
        took_s: Seconds of the whole trial.
    """

    setting: str
    verdict: Verdict
    speedup: float | None
    interval: tuple[float, float] | None
    noise: float
    pairs: int
    took_s: float


_TRIALS: Final = msgspec.json.Decoder(Trial)


def trial(effort: Effort) -> Trial:
    """Verify nothing, once."""
    subject = Subject(family=families()["llama"], wish=Wish(size="tiny"), device="cpu")
    begun = time.monotonic()
    found = verify(Trials(subject, {NONE.id: NONE}, effort, idle=False))
    result: LeverResult = found.levers[0]
    return Trial(
        setting=setting_of(found, effort),
        verdict=result.verdict,
        speedup=result.speedup,
        interval=result.interval,
        noise=found.baseline.noise,
        pairs=result.pairs,
        took_s=time.monotonic() - begun,
    )


def setting_of(found: Verification, effort: Effort) -> str:
    """What trials must have in common."""
    torch = found.versions.get("torch", "")
    return (
        f"{found.workload['name']} {found.workload['size']} on {found.device_name}, torch {torch}, "
        f"{found.threads} thread, {found.clock} clock, --precision {effort.precision:.0%}, "
        f"--max-time {effort.max_time_s:g}"
    )


def kept(store: Path) -> list[Trial]:
    """The trials of a file; half a line of a killed run is passed over."""
    return read_records(store, _TRIALS)


def run(store: Path, effort: Effort, trials: int) -> list[Trial]:
    """Make trials until there are so many of the setting of the last one; these."""
    last = trial(effort)  # tells the setting; it counts as all others do
    append_record(store, last)
    while len(alike := [each for each in kept(store) if each.setting == last.setting]) < trials:
        say(f"{len(alike)} of {trials}: {last.verdict} in {last.took_s:.0f} s")
        last = trial(effort)
        append_record(store, last)
    return alike


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share.

    Wilson, Probable inference, the law of succession, and statistical inference (1927); it holds near 0 and 1, too.
    """
    share, square = hits / trials, NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    spread = share * (1 - share) / trials + square / (4 * trials**2)
    half = NORMAL_95 / (1 + square / trials) * math.sqrt(spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def report(found: Sequence[Trial]) -> str:
    """The counts as Markdown."""
    verdicts = Counter(each.verdict for each in found)
    low, high = wilson(verdicts["no gain"], len(found))
    widths = [math.log(end / start) / 2 for start, end in (t.interval for t in found if t.interval)]
    rows = "\n".join(f"| `{verdict}` | {count} |" for verdict, count in verdicts.most_common())
    return (
        f"{found[-1].setting}: `no gain` in {verdicts['no gain']} of {len(found)} trials "
        f"({low:.1%} to {high:.1%}, 95 % score interval).\n\n"
        f"| verdict | trials |\n| --- | ---: |\n{rows}\n\n"
        f"Half of the interval of a trial: {statistics.median(widths):.1%} (median); a trial took "
        f"{statistics.median(each.took_s for each in found):.0f} s.\n"
    )


def write(page: Path, text: str) -> None:
    """Replace what lies between the marks of a page."""
    head, _, tail = page.read_text().split(MARK)
    page.write_text(f"{head}{MARK}\n\n{text}\n{MARK}{tail}")


def say(text: str) -> None:
    """Progress, beside the result."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Make the trials, and print or write what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--max-time", type=float, default=4.0)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    asked = parser.parse_args()
    text = report(run(asked.store, Effort(max_time_s=asked.max_time), asked.trials))
    if asked.write:
        write(asked.write, text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
