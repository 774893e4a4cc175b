"""Writing the sidecar of a trace; `mmprof.analyzers.sidecar` says what is in it and reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mmprof.analyzers.files import replacing
from mmprof.analyzers.sidecar import (
    Failure,
    ProfilerOptions,
    Sidecar,
    Timing,
    WorkloadFacts,
    sidecar_path,
)
from mmprof.tracer.machine import device_facts, host_facts, now, versions
from mmprof.tracer.trace_files import rank_of_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from mmprof.tracer.workload import Workload


def sidecar_of(
    trace: Path,
    device: str,
    workload: WorkloadFacts,
    *,
    timing: Timing,
    profiler: ProfilerOptions,
) -> Sidecar:
    """The sidecar of a trace that this process records now."""
    return Sidecar(
        trace=trace.name,
        recorded_at=now(),
        rank=rank_of_process(),
        workload=workload,
        device=device_facts(device),
        host=host_facts(),
        versions=versions(),
        timing=timing,
        profiler=profiler,
    )


def write_sidecar(trace: Path, sidecar: Sidecar, *, force: bool) -> None:
    """Write the sidecar beside its trace, whole or not at all.

    Raises:
        MmprofError: It exists or cannot be written.
    """
    with replacing(sidecar_path(trace), force=force) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(sidecar)) + b"\n")


def workload_facts(workload: Workload) -> WorkloadFacts:
    """What the sidecar says of a workload."""
    count, size = _parameters(workload.models)
    return WorkloadFacts(
        name=workload.name,
        arguments=dict(workload.arguments),
        parameters=count,
        parameter_bytes=size,
        kv_cache_bytes=workload.kv_cache_bytes,
        steps=workload.steps,
    )


def failure_of(error: BaseException) -> Failure:
    """An exception as the sidecar has it."""
    return Failure(type(error).__name__, str(error))


def _parameters(models: Mapping[str, nn.Module]) -> tuple[int | None, int | None]:
    """Number and bytes of the parameters of all models, shared ones once."""
    if not models:
        return None, None
    found = {id(p): p for model in models.values() for p in model.parameters()}.values()
    return sum(p.numel() for p in found), sum(p.numel() * p.element_size() for p in found)
