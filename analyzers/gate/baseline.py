"""A baseline: the metrics of a run, kept to compare others with. A trace can stand for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from mmprof.analyzers.contract import Json, struct_schema
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.metrics import STEP_METRICS, DeviceMetrics
from mmprof.analyzers.gate.setup import Setup
from mmprof.analyzers.load.source import unreadable

if TYPE_CHECKING:
    from mmprof.analyzers.gate.measure import Measured

SCHEMA: Final = "mmprof.baseline/1"
_KIND: Final = SCHEMA.rpartition("/")[0].encode()

# A trace may have gigabytes: only both ends are looked at to tell what a file is. Formatters that sort keys, as `jq -S`
# does, move the schema to the end.
_END_BYTES: Final = 8_192
# What sums of two still fit into 64 bits.
_MOST: Final = 2.0**62
_READ_AGAIN: Final = "save it again with `mmprof baseline save`, or give a trace"


class BaselineInput(Struct, frozen=True):
    """A trace behind a baseline.

    Attributes:
        name: Its file name.
        sha256: Of its bytes.
    """

    name: str
    sha256: str


class Baseline(Struct, frozen=True, kw_only=True):
    """The metrics of a run: what `mmprof baseline save` writes.

    Attributes:
        inputs: The traces.
        setup: Under what conditions they were recorded.
        devices: The metrics, by rank and device.
        mmprof: Version of mmprof that measured them.
    """

    schema: str = SCHEMA
    mmprof: str = ""
    inputs: list[BaselineInput]
    setup: Setup
    devices: list[DeviceMetrics]


@dataclass(frozen=True, slots=True)
class Against:
    """A baseline and where it is from."""

    path: str
    baseline: Baseline


def baseline_of(measured: Measured, *, version: str = "") -> Baseline:
    """The baseline that a measurement makes.

    Args:
        measured: The measurement.
        version: The version of mmprof that made it.
    """
    return Baseline(
        mmprof=version,
        inputs=inputs_of(measured),
        setup=measured.setup,
        devices=list(measured.devices),
    )


def inputs_of(measured: Measured) -> list[BaselineInput]:
    """The files behind a measurement."""
    return [
        BaselineInput(readable(Path(facts.path).name), facts.sha256) for facts in measured.inputs
    ]


def readable(path: str) -> str:
    """A path as JSON takes it: what is not UTF-8 reaches Python as surrogates, which no encoder takes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def encoded(baseline: Baseline) -> str:
    """The document, a metric a line: small, and its changes can be read in a version control system."""
    head = msgspec.to_builtins(baseline)
    head["devices"] = []
    text = msgspec.json.format(msgspec.json.encode(head)).decode().removesuffix("[]\n}")
    devices = ",\n".join(_device_lines(device) for device in baseline.devices)
    return f"{text}[\n{devices}\n  ]\n}}\n"


def is_baseline(path: Path) -> bool:
    """Whether a file is a baseline, and no trace."""
    try:
        with path.open("rb") as file:
            head = file.read(_END_BYTES)
            file.seek(-min(_END_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            ends = head, file.read(_END_BYTES)
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return False
    return head.lstrip()[:1] == b"{" and any(_KIND in end for end in ends)


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        MmprofError: It cannot be read.
    """
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise unreadable(str(path), error) from error
    try:
        found = msgspec.json.decode(text, type=Baseline)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(path, str(error)) from error
    if found.schema != SCHEMA:
        raise _unusable(path, f"schema {found.schema!r}; this version of mmprof reads {SCHEMA!r}")
    for device in found.devices:
        if flaws := [*_flaws(device)]:
            raise _unusable(path, f"rank {device.rank}, device {device.device}: {flaws[0]}")
    return found


def baseline_schema() -> Json:
    """The JSON Schema (draft 2020-12) of `mmprof.baseline/1`."""
    return struct_schema(Baseline, SCHEMA)


def _device_lines(device: DeviceMetrics) -> str:
    fields = msgspec.to_builtins(device)
    metrics = fields.pop("metrics")
    head = [f"      {_line(name)}: {_line(value)}" for name, value in fields.items()]
    rows = ",\n".join(f"        {_line(name)}: {_line(metrics[name])}" for name in metrics)
    return "    {\n" + ",\n".join(head) + f',\n      "metrics": {{\n{rows}\n      }}\n    }}'


def _line(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _flaws(device: DeviceMetrics) -> Iterator[str]:
    """What `mmprof baseline save` never writes: somebody edited the file."""
    if not device.steps:
        yield "no steps"
    for name, metric in device.metrics.items():
        numbers = [metric.value, *metric.runs, *(n for run in metric.samples for n in run)]
        if max(map(abs, numbers)) > _MOST:
            yield f"{name} has a number beyond 2^62"
    for name in STEP_METRICS:
        if name not in device.metrics:
            yield f"no {name}"
            continue
        counts = [len(run) for run in device.samples(name)]
        if counts != device.steps:
            yield f"{name} has other samples than steps"


def _unusable(path: Path, found: str) -> MmprofError:
    return MmprofError(
        "MM-E081", f"the baseline {path} cannot be used", found=found, hint=_READ_AGAIN
    )
