"""Runs `mmprof optimize` on each workload, as a user would, and keeps its document."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.levers.singles import readable, say
from benchmarks.levers.store import Setting, Stacked, Store, now
from mmprof.tracer.verify_results import Verification


class Refusal(msgspec.Struct, frozen=True):
    """The part of `mmprof.error/1` that says what was wrong."""

    message: str = ""


def search(
    settings: Sequence[Setting], store: Store, runs: Path, *, budget_s: float, again: bool
) -> None:
    """Search a stack for each workload of which none is known.

    Args:
        settings: The workloads.
        store: Where the documents are kept.
        runs: Where `mmprof optimize` keeps its measurements; a search that was killed goes on there.
        budget_s: Seconds for each.
        again: Whether to search although that was done.

    Raises:
        MmprofError: The store cannot be written.
    """
    for setting in settings:
        if store.stack(setting) and not again:
            continue
        say(f"{setting.case.name}: optimizing, at most {budget_s / 60:.0f} minutes")
        record = searched(setting, command(setting, runs, budget_s), budget_s)
        store.append(record)
        told = record.found.search if record.found else None
        say(f"{setting.case.name}: {told.conclusion if told else record.failure}")


def command(setting: Setting, runs: Path, budget_s: float) -> list[str]:
    """The command line, without the interpreter."""
    case, effort = setting.case, setting.effort
    given = {
        "task": case.task,
        "size": case.size,
        "output-length": case.output_length or "",
        "set": f"requests={case.requests}" if case.requests else "",
        "device": setting.device,
        "budget": f"{budget_s:g}s",
        "precision": effort.precision,
        "max-time": effort.max_time_s,
        "time-limit": effort.limit_s,
        "threads": effort.threads,
        "store": runs,
        "format": "json",
    }
    options = [f"--{name}={value}" for name, value in given.items() if value != ""]
    return ["-m", "mmprof", "optimize", case.family, *options]


def searched(setting: Setting, arguments: Sequence[str], budget_s: float) -> Stacked:
    """What a command finds."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    wall_s = time.monotonic() - start
    found = msgspec.json.decode(done.stdout, type=Verification) if done.returncode == 0 else None
    failure = "" if found else _failure(done)
    return Stacked(
        setting=setting, at=now(), budget_s=budget_s, wall_s=wall_s, found=found, failure=failure
    )


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    try:
        told = msgspec.json.decode(done.stdout, type=Refusal).message
    except msgspec.MsgspecError:
        told = ""
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return readable(told or last)
