"""One recording: torch.profiler with annotations of modules, from start to the written file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch.profiler import ProfilerAction, profile

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.sidecar import ProfilerOptions
from mmprof.tracer.devices import activities_of, synchronize
from mmprof.tracer.host_memory import pages_so_far
from mmprof.tracer.modules import ModuleAnnotations, prime_profiler
from mmprof.tracer.phases import Listener
from mmprof.tracer.takes import Cost
from mmprof.tracer.trace_files import TraceFile, rank_of_process, write_trace

if TYPE_CHECKING:
    from torch import nn

Schedule: TypeAlias = Callable[[int], ProfilerAction]

DECODE: Final = "decode"


class Recorder:
    """Records what this process does between `start` and `stop`.

    Args:
        device: The torch device whose activities are recorded besides the host's.
        options: What to record; its activities are those of the device.
        models: Models by name, whose modules are annotated, the only one also around all that runs; None for every
            module that runs.
        schedule: Which steps to record (`torch.profiler.schedule`); None for all.

    Attributes:
        running: Whether it records now.
        elapsed_s: Seconds between start and stop.
        new_pages: Pages of memory that the system had to give the process between them.
    """

    def __init__(
        self,
        device: str,
        options: ProfilerOptions,
        *,
        models: Mapping[str, nn.Module] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self._device = device
        self._scheduled = schedule is not None
        self._modules = ModuleAnnotations(models) if options.modules else None
        self._profile = profile(
            activities=activities_of(device),
            record_shapes=options.shapes,
            with_stack=options.stacks,
            profile_memory=options.memory,
            schedule=schedule,
        )
        self.running = False
        self.elapsed_s = 0.0
        self.new_pages = 0

    def start(self) -> None:
        """Begin to record.

        Raises:
            MmprofError: Another profiler is recording in this process.
        """
        if profiler_is_on():
            raise MmprofError(
                "MM-E057",
                "another profiler is recording in this process",
                hint="end it first: torch.profiler cannot be nested",
            )
        prime_profiler()
        if self._modules is not None:
            self._modules.__enter__()
        synchronize(self._device)
        self._profile.start()
        if self._modules is not None:
            self._modules.open_root()
        self._add_rank()
        self.running = True
        self._pages_before = pages_so_far()
        self._started_s = time.perf_counter()

    @property
    def cost(self) -> Cost:
        """What was recorded took so long."""
        return Cost(self.elapsed_s, self.new_pages)

    def stop(self) -> None:
        """End recording; what is open ends here. Does nothing where recording has ended.

        Raises:
            MmprofError: Another profiler has taken over in the meantime; what was recorded is lost.
        """
        if not self.running:
            return
        self.running = False
        synchronize(self._device)
        self.elapsed_s = time.perf_counter() - self._started_s
        self.new_pages = pages_so_far() - self._pages_before
        if self._modules is not None:
            self._modules.__exit__(None, None, None)
        # Stopping a recording that another profiler has ended would crash the process.
        if not self._scheduled and not profiler_is_on():
            raise MmprofError(
                "MM-E057",
                "another profiler ended this recording",
                hint="the program uses torch.profiler itself: run it without mmprof, and analyze its own traces",
            )
        self._profile.stop()

    def step(self) -> None:
        """Say that a step of the schedule ends."""
        self._profile.step()

    def export(self, path: Path, *, force: bool) -> TraceFile:
        """Write what was recorded.

        Raises:
            MmprofError: Nothing was recorded, or the file cannot be written.
        """
        if self._profile.profiler is None:
            raise MmprofError(
                "MM-E058",
                "nothing was recorded: the schedule never reached an active step",
                found=f"{self._profile.step_num} steps",
                hint="call session.step() after each step, or lower wait and warmup",
            )
        return write_trace(path, self._profile.export_chrome_trace, force=force)

    def stop_at(self, step: int) -> Listener:
        """A listener to phases that ends recording where a decode step begins; the run goes on."""

        def stop(name: str, index: int | None) -> None:
            if name == DECODE and index == step:
                self.stop()

        return stop

    def _add_rank(self) -> None:
        """Write the rank into the trace where torch.distributed, which would do so, is not used."""
        rank = rank_of_process()
        if rank is not None and not _is_distributed():
            self._profile.add_metadata_json("distributedInfo", json.dumps({"rank": rank}))


def profiler_is_on() -> bool:
    """Whether a profiler is recording in this thread."""
    return torch._C._autograd._profiler_enabled()  # noqa: SLF001  (torch has no public name for it)


def options_for(
    device: str, *, stacks: bool = False, memory: bool = False, modules: bool = True
) -> ProfilerOptions:
    """The options of a recording on a device."""
    names = tuple(activity.name for activity in activities_of(device))
    return ProfilerOptions(names, shapes=True, stacks=stacks, memory=memory, modules=modules)


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
