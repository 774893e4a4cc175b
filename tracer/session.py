"""Recording a part of one's own program.

>>> with mmprof.trace("out.json.gz", wait=1, warmup=1, active=3) as session:  # doctest: +SKIP
...     for batch in batches:
...         train(batch)
...         session.step()
>>> @mmprof.trace("out.json.gz")  # doctest: +SKIP
... def serve(request): ...
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.order import Manner
from mmprof.tracer.trace_files import TraceFile, check_trace_path, named_by_rank

if TYPE_CHECKING:
    from types import TracebackType

    from mmprof.tracer.recorder import Recorder, Schedule

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Steps:
    """Which steps are recorded: `wait` are left out, `warmup` are recorded and thrown away, `active` are kept."""

    wait: int = 0
    warmup: int = 0
    active: int = 0

    def schedule(self) -> Schedule | None:
        """As torch.profiler takes it; None to record everything."""
        from torch.profiler import schedule  # noqa: PLC0415

        if not self.active:
            return None
        return schedule(wait=self.wait, warmup=self.warmup, active=self.active, repeat=1)


class Session:
    """One recording of a part of a program: a context manager, or a decorator of a function.

    The file is written when the context ends, also by an exception, which goes on. As a decorator it records the
    function's first call; later calls run as if it were not there.

    Attributes:
        trace: What was written; None until then.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        steps: Steps,
        manner: Manner,
        *,
        name: str = "mmprof.trace",
    ) -> None:
        self._path = Path(path)
        self._steps = steps
        self._manner = manner
        self._name = name
        self._recorder: Recorder | None = None
        self._process = 0
        self._used = False
        self.trace: TraceFile | None = None

    def step(self) -> None:
        """Say that a step of the schedule ends."""
        if self._recorder is not None:
            self._recorder.step()

    def start(self) -> None:
        """Begin to record.

        Raises:
            MmprofError: The path cannot be written, or another profiler is recording.
        """
        # What is recorded may go to another folder.
        self._path = named_by_rank(self._path).absolute()
        check_trace_path(self._path, force=self._manner.force)
        self._recorder = self._started()
        self._process = os.getpid()

    def finish(self, error: BaseException | None = None) -> None:
        """End recording and write the file; does nothing where nothing was begun.

        Args:
            error: What ended the recorded code; None for code that ended well.

        Raises:
            MmprofError: Nothing was recorded, or the file cannot be written.
        """
        recorder, self._recorder = self._recorder, None
        if (
            recorder is None or self._process != os.getpid()
        ):  # a fork's copy of the recording is not its own
            return
        recorder.stop()
        self.trace = recorder.export(self._path, force=self._manner.force)
        self._describe(recorder.elapsed_s, error)

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, whose first call is recorded."""

        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            if self._used:
                return function(*args, **kwargs)
            self._used = True
            with self:
                return function(*args, **kwargs)

        return recorded

    def _started(self) -> Recorder:
        from mmprof.tracer.devices import AUTO, resolve_device  # noqa: PLC0415  (torch: seconds)
        from mmprof.tracer.recorder import Recorder, options_for  # noqa: PLC0415

        self._device = resolve_device(AUTO)
        wanted = self._manner
        self._profiler = options_for(
            self._device, stacks=wanted.stacks, memory=wanted.memory, modules=wanted.modules
        )
        recorder = Recorder(self._device, self._profiler, schedule=self._steps.schedule())
        recorder.start()
        return recorder

    def _describe(self, elapsed_s: float, error: BaseException | None) -> None:
        import msgspec  # noqa: PLC0415

        from mmprof.analyzers.sidecar import Timing, WorkloadFacts  # noqa: PLC0415
        from mmprof.tracer.sidecar import failure_of, sidecar_of, write_sidecar  # noqa: PLC0415

        sidecar = sidecar_of(
            self._path,
            self._device,
            WorkloadFacts(self._name),
            timing=Timing(profiled_s=elapsed_s),
            profiler=self._profiler,
        )
        failure = failure_of(error) if error else None
        write_sidecar(
            self._path, msgspec.structs.replace(sidecar, error=failure), force=self._manner.force
        )


def trace(  # noqa: PLR0913  (each is an option of a recording)
    path: str | PathLike[str],
    *,
    wait: int = 0,
    warmup: int = 0,
    active: int = 0,
    stacks: bool = False,
    memory: bool = False,
    modules: bool = True,
    force: bool = False,
) -> Session:
    """Record what a block of code, or the first call of a function, does.

    Args:
        path: Where the trace goes: `.json.gz`, `.json.zst` or `.json`; `t.rank3.json.gz` in a distributed run.
        wait: Steps to leave out before recording; needs `active`.
        warmup: Steps to record and throw away after those.
        active: Steps to record; 0 for the whole block, which then needs no `step()`.
        stacks: Record Python frames.
        memory: Record allocations.
        modules: Annotate the modules that run.
        force: Replace an existing file.

    Returns:
        A context manager and decorator; `session.step()` ends a step.

    Raises:
        MmprofError: `wait` or `warmup` without `active`.
    """
    if (wait or warmup) and not active:
        raise MmprofError(
            "MM-E052",
            "wait and warmup have no effect without active",
            hint="active=3 records three steps",
        )
    manner = Manner(stacks=stacks, memory=memory, modules=modules, force=force)
    return Session(path, Steps(wait, warmup, active), manner)
