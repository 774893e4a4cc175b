"""A Python program that applies what was verified, with the evidence as comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Final

from mmprof.cli.renderers.optimization.tables import facts
from mmprof.cli.renderers.safe import printable
from mmprof.cli.renderers.verification.tables import interval_text, speedup_text
from mmprof.tracer.verify_results import step_names

if TYPE_CHECKING:
    from mmprof.tracer.order import Subject
    from mmprof.tracer.verify_results import Verification

_HEAD: Final = '''"""{title}"""

{evidence}

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

import mmprof

LEVERS = {levers}
WARMUPS, REQUESTS = 3, 10


def seconds(run: Callable[[], object]) -> float:
    """Seconds of one request: {said}."""
{synchronize}    start = time.{clock}()
    run()
{synchronize}    return time.{clock}() - start


def main() -> None:
    """Build the workload, apply the levers, and say how long a request takes."""
{threads}    workload = mmprof.workload({arguments})
    workload = mmprof.apply(workload, LEVERS)
    # On a model of your own: model = mmprof.apply(model, LEVERS, inputs=inputs)
    for _ in range(WARMUPS):
        workload.run()
    runs_s = [seconds(workload.run) for _ in range(REQUESTS)]
    told = f"median of {{REQUESTS}} requests {{1e3 * statistics.median(runs_s):.3f}} ms"
    sys.stdout.write(f"{{told}}, with {{', '.join(LEVERS) or 'no levers'}}\\n")


if __name__ == "__main__":
    main()
'''


def program(subject: Subject, found: Verification, names: Mapping[str, str]) -> str:
    """The program's text.

    Args:
        subject: The workload.
        found: What `optimize` found for it.
        names: What the user calls each lever, by its id.
    """
    wall = found.clock == "wall"
    kept = [names.get(lever, lever) for lever in (found.ladder[-1].levers if found.ladder else [])]
    accelerator = found.device.partition(":")[0]
    synchronize = "" if accelerator == "cpu" else f"    torch.{accelerator}.synchronize()\n"
    return _HEAD.format(
        title=f"What `mmprof optimize` verified for {_plain(str(found.workload['name']))}.",
        evidence="\n".join(f"# {printable(line)}" for line in _evidence(found)),
        levers=repr(kept),
        said="until the device is done" if wall else "CPU time of the process",
        clock="perf_counter" if wall else "process_time",
        synchronize=synchronize,
        threads=f"    torch.set_num_threads({found.threads})\n",
        arguments=", ".join(_arguments(subject)),
    )


def _plain(text: str) -> str:
    """Text that cannot end the string that it stands in."""
    return printable(text).replace("\\", "/").replace('"', "'")


def _evidence(found: Verification) -> Iterator[str]:
    yield from facts(found)
    for name, rung in zip(step_names(found.ladder), found.ladder, strict=True):
        check = rung.output_check.detail if rung.output_check else ""
        yield (
            f"{name}: {speedup_text(rung.speedup)} ({interval_text(rung.interval)}) over the baseline, "
            f"{rung.exactness}; {check}"
        )


def _arguments(subject: Subject) -> Iterator[str]:
    """What `mmprof.workload` is called with: all that is not the default."""
    if subject.folder is not None:
        yield f"hf={str(subject.folder)!r}"
    else:
        yield repr(subject.family.name if subject.family else subject.target)
    if subject.device:
        yield f"device={subject.device!r}"
    for field in fields(subject.wish):
        value = getattr(subject.wish, field.name)
        value = list(value) if field.name == "settings" else value
        if value:
            yield f"{field.name}={value!r}"
