"""A baseline: the metrics of a run, kept to compare others with. A trace can stand for one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from mmprof.analyzers.contract import Json, struct_schema
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.metrics import DeviceMetrics
from mmprof.analyzers.gate.setup import Setup

if TYPE_CHECKING:
    from mmprof.analyzers.gate.measure import Measured

SCHEMA: Final = "mmprof.baseline/1"
SUFFIX: Final = ".json"

# A trace may have gigabytes: only the beginning is looked at to tell what a file is.
_HEAD_BYTES: Final = 256
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
            return SCHEMA.rpartition("/")[0].encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        MmprofError: It cannot be read.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    if found.schema != SCHEMA:
        raise _unreadable(path, f"schema {found.schema!r}; this version of mmprof reads {SCHEMA!r}")
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


def _unreadable(path: Path, found: str) -> MmprofError:
    return MmprofError(
        "MM-E081", f"the baseline {path} cannot be used", found=found, hint=_READ_AGAIN
    )
