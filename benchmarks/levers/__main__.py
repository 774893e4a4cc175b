"""Measures every lever on every family: `python -m benchmarks.levers run`, `stacks`, then `write`.

`run` tries each lever alone, `stacks` lets `mmprof optimize` find stacks, `write` turns what both kept into docs/levers.md. A run
that is killed and started again goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from benchmarks.diff_power import write
from benchmarks.levers.page import page
from benchmarks.levers.singles import Plan, Session, say
from benchmarks.levers.stacks import search
from benchmarks.levers.store import Case, Setting, open_store
from mmprof.analyzers.errors import MmprofError
from mmprof.cli.termination import terminated_like_interrupted
from mmprof.tracer.lever_registry import lever_named, levers
from mmprof.tracer.verify_sides import Effort

if TYPE_CHECKING:
    from mmprof.tracer.lever import Lever

ROOT: Final = Path(__file__).resolve().parents[2]
STORE: Final = ROOT / "benchmarks" / "results" / "levers.jsonl"
RUNS: Final = ROOT / "benchmarks" / "out" / "runs"
PAGE: Final = ROOT / "docs" / "levers.md"

Act: TypeAlias = Callable[[argparse.Namespace], int]

TASKS: Final = {
    "llama": ("T-T",),
    "seamless": ("T-T", "S-S"),
    "chameleon": ("T-I",),
    "hstu": ("H-A",),
    "diffusion": ("T-I",),
}
"""What is told of each family; Seamless encodes its input twice where it makes speech of speech."""

SERVED: Final = {"llama": 8}
"""Requests of a run beside the run of one, where a family serves several: levers that schedule apply to no other."""

_SHORTER: Final = {
    ("chameleon", "small", 0): 64,
    ("diffusion", "small", 0): 4,
    ("llama", "small", 8): 16,
}
"""Whole runs of these take a quarter of a minute on a CPU, or nearly; each of their steps does what the others do."""


def cases(names: Iterable[str], size: str, *, whole: bool) -> list[Case]:
    """The runs of some families, in their order."""
    lengths = {} if whole else _SHORTER
    return [
        Case(name, task, size, lengths.get((name, size, requests), 0), requests)
        for name in names
        for task in TASKS[name]
        for requests in dict.fromkeys((0, SERVED.get(name, 0)))
    ]


def main() -> None:
    """Do one of the three."""
    given = _arguments()
    try:
        with terminated_like_interrupted():
            raise SystemExit(given.act(given))
    except MmprofError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        say(f"stopped; what was measured is kept in {given.store}: the same command goes on")
        raise SystemExit(130) from None


def _run(given: argparse.Namespace) -> int:
    known = levers()
    deadline = time.monotonic() + 60 * given.budget if given.budget else math.inf
    plan = Plan(
        settings=_settings(given),
        known=known,
        chosen=_ids(given.levers, known),
        deadline=deadline,
        again=frozenset(_ids(given.again, {})),
        predict_again=given.predict_again,
    )
    complete = Session(plan, open_store(given.store)).run()
    say("all is measured" if complete else "the budget ended: the same command goes on")
    return 0


def _stacks(given: argparse.Namespace) -> int:
    budget_s, store = 60 * given.budget, open_store(given.store)
    search(_settings(given), store, given.runs, budget_s=budget_s, again=given.again)
    return 0


def _write(given: argparse.Namespace) -> int:
    write(given.page, page(open_store(given.store)))
    return 0


def _settings(given: argparse.Namespace) -> list[Setting]:
    effort = Effort(given.precision, given.max_time, given.time_limit, given.threads)
    listed = cases(given.families, given.size, whole=given.whole)
    wanted = (case for case in listed if not given.tasks or case.task in given.tasks)
    chosen = (case for case in wanted if case.requests or not given.several)
    return [Setting(case, given.device, effort) for case in chosen]


def _ids(names: Iterable[str], default: dict[str, Lever]) -> list[str]:
    return [lever_named(name).id for name in names] or list(default)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.levers", description=__doc__.partition("\n")[0]
    )
    verbs = parser.add_subparsers(required=True)
    single = _does(verbs.add_parser("run"), _run)
    _what(single, max_time=20)
    single.add_argument("--levers", nargs="+", default=[], metavar="LEVER")
    single.add_argument("--again", nargs="+", default=[], metavar="LEVER", help="measure anew")
    single.add_argument("--predict-again", action="store_true", help="record and predict anew")
    single.add_argument("--budget", type=float, default=0, help="minutes for all; 0 for any")
    stacks = _does(verbs.add_parser("stacks"), _stacks)
    _what(stacks, max_time=8)
    stacks.add_argument("--budget", type=float, default=20, help="minutes for each workload")
    stacks.add_argument("--again", action="store_true", help="search anew")
    stacks.add_argument("--runs", type=Path, default=RUNS, help="measurements of mmprof optimize")
    written = _does(verbs.add_parser("write"), _write)
    written.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


def _does(parser: argparse.ArgumentParser, act: Act) -> argparse.ArgumentParser:
    parser.set_defaults(act=act)
    parser.add_argument("--store", type=Path, default=STORE, metavar="FILE")
    return parser


def _what(parser: argparse.ArgumentParser, *, max_time: float) -> None:
    """Options that say what is measured, and how well."""
    parser.add_argument("--size", default="small")
    parser.add_argument("--families", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="of these families; default: all"
    )
    parser.add_argument("--several", action="store_true", help="only runs of several requests")
    parser.add_argument("--device", default="", help="a torch device; default: the accelerator")
    parser.add_argument("--whole", action="store_true", help="requests of full length")
    parser.add_argument("--precision", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--max-time", type=float, default=max_time, help="seconds a comparison")
    parser.add_argument("--time-limit", type=float, default=300, help="seconds of any one step")
    parser.add_argument("--threads", type=int, default=1)


if __name__ == "__main__":
    main()
