"""From what the user asks for to a recording: builds the workload, measures the machine, records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.ceilings import ceilings
from mmprof.tracer.devices import AUTO, resolve_device
from mmprof.tracer.families import dtype_named, free_options, request_for
from mmprof.tracer.memory_limit import memory_limited
from mmprof.tracer.order import Manner, Subject, Wish
from mmprof.tracer.record import Plan, Recording, record
from mmprof.tracer.recorder import options_for
from mmprof.tracer.targets import Placement, workload_of
from mmprof.tracer.workload import Request

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

_CPU_ALLOCATOR: Final = "DefaultCPUAllocator: "
_SMALLER: Final = (
    "a smaller --size, --batch, --input-length or --output-length, or --dtype bfloat16"
)

# A family that has such a length tells what it came to.
_TOLD_BY_FAMILIES: Final = ("options", "input_length", "output_length")
_FOR_FAMILIES: Final = ("task", "size", "batch", "input_length", "output_length", "attention")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Built:
    """A workload that is ready to run.

    Attributes:
        workload: The workload, what was asked for among its arguments.
        device: The torch device that it uses.
        notes: What is worth telling about it.
    """

    workload: Workload
    device: str
    notes: tuple[str, ...] = ()


def trace_workload(subject: Subject, path: Path, manner: Manner) -> Recording:
    """Build a workload and record it.

    Raises:
        MmprofError: It cannot be found or built, or the trace cannot be written. What goes wrong while it runs is part
            of the recording.
    """
    with memory_limited(resolve_device(subject.device or AUTO)):
        return _traced(subject, path, manner)


def _traced(subject: Subject, path: Path, manner: Manner) -> Recording:
    manner.progress("building the model")
    built = _guarded(lambda: build_subject(subject))
    if manner.ceilings:
        manner.progress("measuring the machine")
    measured = _guarded(lambda: ceilings(built.device)) if manner.ceilings else []
    options = options_for(
        built.device, stacks=manner.stacks, memory=manner.memory, modules=manner.modules
    )
    plan = Plan(
        path,
        built.device,
        options,
        manner.limits,
        force=manner.force,
        again=not manner.stacks,  # stacks make every recording slow
        progress=manner.progress,
    )
    return record(built.workload, plan, ceilings=measured, notes=built.notes)


def error_of(failure: BaseException, found: str = "", hint: str = "") -> MmprofError:
    """The error that tells the user what a workload raised.

    Args:
        failure: What it raised.
        found: What there is nevertheless.
        hint: What to try, other than for lack of memory.
    """
    what = _first_sentence(str(failure).strip())
    told = f"{type(failure).__name__}: {what}" if what else type(failure).__name__
    if is_out_of_memory(failure):
        return MmprofError("MM-E061", f"out of memory: {told}", found=found, hint=_SMALLER)
    if isinstance(failure, KeyboardInterrupt):
        return MmprofError("MM-E062", "interrupted", found=found, hint=hint)
    hint = hint or "run it again with --debug for the traceback"
    return MmprofError("MM-E060", f"the workload failed: {told}", found=found, hint=hint)


def _first_sentence(text: str) -> str:
    """The first line, and the next one where it only announces that: compilers say `raised:` first."""
    first, _, rest = text.partition("\n")
    following = rest.strip().partition("\n")[0]
    return f"{first} {following}" if first.endswith(":") and following else first


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the host or the device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
    )


def _guarded(make: Callable[[], T]) -> T:
    """What a function makes, where it may run a user's code."""
    try:
        return make()
    except MmprofError:
        raise
    except (Exception, SystemExit) as error:
        raise error_of(error) from error


def build_subject(subject: Subject) -> Built:
    """Build a workload.

    Raises:
        MmprofError: It cannot be found, or not with what is asked of it.
    """
    if subject.family is not None:
        request = request_for(subject.family, subject.wish, resolve_device(subject.device or AUTO))
        built = subject.family.build(request)
        asked = {k: v for k, v in asdict(request).items() if k not in _TOLD_BY_FAMILIES}
        arguments = {**asked, **request.options, **built.arguments}
        return Built(replace(built, arguments=arguments), request.device)
    if subject.folder is not None:
        return _from_folder(subject.folder, subject)
    return _from_target(subject)


def _from_folder(folder: Path, subject: Subject) -> Built:
    _check_unused(subject.wish, ("task", "size"), "a model's folder")
    from mmprof.tracer.checkpoints import checkpoint  # noqa: PLC0415  (transformers: seconds)

    request = _free_request(subject)
    made = checkpoint(folder, request)
    return Built(made.workload, request.device, tuple(made.notes))


def _from_target(subject: Subject) -> Built:
    wish = subject.wish
    _check_unused(wish, _FOR_FAMILIES, subject.target)
    placement = Placement(
        resolve_device(subject.device) if subject.device else "",
        dtype_named(wish.dtype) if wish.dtype else "",
        wish.seed,
        free_options(wish.settings),
    )
    workload = workload_of(subject.target, placement)
    return Built(workload, _device_of(workload) or placement.device or resolve_device(AUTO))


def _check_unused(wish: Wish, options: Sequence[str], what: str) -> None:
    """Refuse options that have no effect on a kind of subject: they would mislead."""
    for name in options:
        if getattr(wish, name):
            raise MmprofError(
                "MM-E052",
                f"--{name.replace('_', '-')} has no effect on {what}",
                hint="leave it out; --set NAME=VALUE gives a function its arguments",
            )


def _device_of(workload: Workload) -> str:
    """Where the first parameter of a workload is; empty for a workload without parameters."""
    parameters = (p for model in workload.models.values() for p in model.parameters())
    first = next(parameters, None)
    return "" if first is None else str(first.device)


def _free_request(subject: Subject) -> Request:
    """A request to a model that is no family's."""
    wish = subject.wish
    return Request(
        task="",
        size="",
        device=resolve_device(subject.device or AUTO),
        dtype=dtype_named(wish.dtype or "float32"),
        batch=wish.batch or 1,
        seed=wish.seed,
        input_length=wish.input_length,
        output_length=wish.output_length,
        attention=wish.attention or "sdpa",
        options=free_options(wish.settings),
    )
