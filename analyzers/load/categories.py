"""What the category names of 2021 to 2026 mean.

Kineto's names changed in 2021-12 (`Kernel` became `kernel`, `Operator` became `cpu_op`); other back ends add their own.
"""

from __future__ import annotations

from typing import Final

OPERATOR: Final = "operator"
ANNOTATION: Final = "annotation"
PYTHON: Final = "python"
RUNTIME: Final = "runtime"
DRIVER: Final = "driver"
OVERHEAD: Final = "overhead"
KERNEL: Final = "kernel"
MEMCPY: Final = "memcpy"
MEMSET: Final = "memset"
DEVICE_ANNOTATION: Final = "device_annotation"
SYNC: Final = "sync"
MEMORY: Final = "memory"
OTHER: Final = "other"

TRACKS: Final = "mmprof"
"""The category of the tracks that `mmprof export` adds: what was found in a trace is no part of it."""

HOST_KINDS: Final = (OPERATOR, ANNOTATION, PYTHON, RUNTIME, DRIVER)
LAUNCH_KINDS: Final = (RUNTIME, DRIVER)
ACTIVITY_KINDS: Final = (KERNEL, MEMCPY, MEMSET)
DEVICE_KINDS: Final = (*ACTIVITY_KINDS, DEVICE_ANNOTATION, SYNC)

KIND_OF_CATEGORY: Final[dict[str, str]] = {
    "cpu_op": OPERATOR,
    "Operator": OPERATOR,
    "hpu_op": OPERATOR,
    "user_annotation": ANNOTATION,
    "python_function": PYTHON,
    "cuda_runtime": RUNTIME,
    "Runtime": RUNTIME,
    "xpu_runtime": RUNTIME,
    "mtia_runtime": RUNTIME,
    "glow_runtime": RUNTIME,
    "privateuse1_runtime": RUNTIME,
    "cuda_driver": DRIVER,
    "xpu_driver": DRIVER,
    "privateuse1_driver": DRIVER,
    "overhead": OVERHEAD,
    "kernel": KERNEL,
    "Kernel": KERNEL,
    "mtia_ccp_events": KERNEL,
    "concurrent_kernel": KERNEL,
    "gpu_memcpy": MEMCPY,
    "Memcpy": MEMCPY,
    "gpu_memset": MEMSET,
    "Memset": MEMSET,
    "gpu_user_annotation": DEVICE_ANNOTATION,
    # instants in libkineto's files, complete events that last to the end of the trace in those of the Python exporter
    "cpu_instant_event": MEMORY,
    "cuda_sync": SYNC,
    "xpu_sync": SYNC,
    "mtia_insight": OTHER,
    "cuda_event": OTHER,
    "cuda_profiler_range": OTHER,
    "collective_comm": OTHER,
    "external_correlation": OTHER,
    "Trace": OTHER,
    TRACKS: OTHER,
}

# Arrows between events, of 2021 (`async`) to today.
FLOW_CATEGORIES: Final = ("ac2g", "fwdbwd", "async_gpu", "async_cpu_to_gpu", "async")

# The 2021 exporter wrote annotations as operators: only the name tells them apart.
ANNOTATION_PREFIXES: Final = ("ProfilerStep#", "enumerate(DataLoader)", "Optimizer.", "nn.Module: ")


def kind_of(category: str) -> str:
    """The kind of a complete event of this category; `other` where the category is not known."""
    return KIND_OF_CATEGORY.get(category, OTHER)
