"""mmprof explains, predicts and proves: why a PyTorch model is slow, from its profiler trace.

>>> import mmprof
>>> report = mmprof.analyze("trace.json.gz")  # doctest: +SKIP
>>> report.devices[0].value("idle_share")  # doctest: +SKIP
0.63

Importing mmprof imports nothing else: tables, parsers and analyses are loaded by the first use of one of its names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from os import PathLike

    from mmprof.analyzers.analyze import Report
    from mmprof.analyzers.contract import analysis_document
    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.analyzers.errors import MmprofError
    from mmprof.analyzers.load import load
    from mmprof.tracer.applying import applied, apply, workload
    from mmprof.tracer.phases import phase
    from mmprof.tracer.session import trace

    __version__: str

__all__ = [
    "MmprofError",
    "Report",
    "__version__",
    "analysis_document",
    "analyze",
    "applied",
    "apply",
    "load",
    "phase",
    "trace",
    "workload",
]

_HOME: Final = {
    "MmprofError": "mmprof.analyzers.errors",
    "Report": "mmprof.analyzers.analyze",
    "analysis_document": "mmprof.analyzers.contract",
    "applied": "mmprof.tracer.applying",
    "apply": "mmprof.tracer.applying",
    "load": "mmprof.analyzers.load",
    "phase": "mmprof.tracer.phases",
    "trace": "mmprof.tracer.session",
    "workload": "mmprof.tracer.applying",
}


def analyze(
    *traces: str | PathLike[str],
    rank: int | None = None,
    device: int | None = None,
    window: str = "",
    device_spec: DeviceSpec | None = None,
    twin: str | PathLike[str] = "",
) -> Report:
    """Analyze trace files, or folders that hold one trace per rank.

    Args:
        traces: Paths of `.json`, `.json.gz` or `.json.zst` files or of folders; `-` for standard input.
        rank: Only this rank.
        device: Only this device.
        window: A phase, an annotation or a time range: `decode`, `ProfilerStep#3`, `10ms..25ms`.
        device_spec: Peaks to use instead of the device table's.
        twin: A trace of the same work without CUDA graphs, whose operators stand for those of graph replays.

    Returns:
        The results of each device; `analysis_document` makes the JSON of them.

    Raises:
        MmprofError: An input cannot be read, or nothing matches the selection.
    """
    from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (polars: 0.2 s)
    from mmprof.analyzers.analyze import analyze as analyze_paths  # noqa: PLC0415

    options = Options(rank=rank, device=device, window=window, spec=device_spec, twin=str(twin))
    return analyze_paths([str(trace) for trace in traces], options)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415  (20 ms that only a question for the version should cost)

    try:
        return metadata.version("mmprof")
    except metadata.PackageNotFoundError:
        return "0+source"  # run from a checkout that was never installed
