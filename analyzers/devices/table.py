"""The device table of this package, and the file of a user's own device."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from mmprof.analyzers.devices.spec import DeviceSpec, DtypeKey
from mmprof.analyzers.errors import MmprofError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES_PER_GIB: Final = 1 << 30
# a path, since importing importlib.resources takes 20 ms of every run
_TABLE_FILE: Final = Path(__file__).with_name("devices.toml")

# Below a G a second it is a figure in T or G units, above 1e21 a typing error (and int() of inf).
_PerSecond = Annotated[float, msgspec.Meta(ge=1e9, le=1e21)]
_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(gt=0)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _DeviceFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The keys of a device in TOML or JSON; `devices.toml` says what each means."""

    name: _Text
    vendor: str = ""
    peak_flops: Annotated[dict[DtypeKey, _PerSecond], msgspec.Meta(min_length=1)]
    vector_flops: dict[DtypeKey, _PerSecond] = {}
    bandwidth_bytes_per_s: _PerSecond
    source: str = ""
    memory_gib: _Positive | None = None
    compute_capability: tuple[int, int] | None = None
    num_sms: _Count | None = None
    aliases: list[str] = []
    families: list[str] = []
    match_properties: bool = False


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    device: list[_DeviceFields]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A device of the table, and the names and properties that point to it.

    Attributes:
        spec: The device.
        aliases: Whole driver names without the vendor.
        families: Beginnings of driver names that it shares with other boards.
        match_properties: Whether properties alone, without a name, may point to it.
    """

    spec: DeviceSpec
    aliases: tuple[str, ...]
    families: tuple[str, ...]
    match_properties: bool


def load_table() -> tuple[DeviceSpec, ...]:
    """All devices whose peaks are known, in the order of the table."""
    return tuple(entry.spec for entry in load_entries())


@cache
def load_entries() -> tuple[TableEntry, ...]:
    """All entries of `devices.toml`."""
    text = _TABLE_FILE.read_text(encoding="utf-8")
    table = msgspec.convert(tomllib.loads(text), _Table)
    return tuple(_entry(fields) for fields in table.device)


def load_spec_file(path: Path) -> DeviceSpec:
    """Read the peaks of a user's own device.

    Args:
        path: A `.json` or `.toml` file with the keys of one entry of `devices.toml`; `name`,
            `peak_flops` and `bandwidth_bytes_per_s` are required. Rates are per second: FLOP/s
            and bytes/s.

    Raises:
        MmprofError: The file cannot be read, is not JSON or TOML, or its keys do not fit.
    """
    try:
        fields = msgspec.convert(_parse(path), _DeviceFields)
    except OSError as error:
        raise _spec_error(path, "cannot be read", str(error.strerror)) from error
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise _spec_error(path, "is not a device specification", str(error)) from error
    fields.source = fields.source or f"given in {path.name}"
    return _spec(fields)


def _parse(path: Path) -> object:
    """The file's content; a ValueError (also TOML's and Unicode's) or DecodeError if malformed."""
    data = path.read_bytes()
    if path.suffix.lower() == ".json":
        return msgspec.json.decode(data)
    return tomllib.loads(data.decode("utf-8"))


def _spec_error(path: Path, problem: str, found: str) -> MmprofError:
    return MmprofError(
        "MM-E041",
        f"the device specification {path} {problem}",
        found=found,
        hint='JSON or TOML with name = "...", bandwidth_bytes_per_s = 3.35e12 and '
        "peak_flops = { bf16 = 989.4e12 } (FLOP/s and bytes/s, dense)",
    )


def _entry(fields: _DeviceFields) -> TableEntry:
    return TableEntry(
        spec=_spec(fields),
        aliases=tuple(fields.aliases),
        families=tuple(fields.families),
        match_properties=fields.match_properties,
    )


def _spec(fields: _DeviceFields) -> DeviceSpec:
    memory_gib = fields.memory_gib
    return DeviceSpec(
        name=fields.name,
        vendor=fields.vendor,
        peak_flops=_rates(fields.peak_flops),
        bandwidth_bytes_per_s=round(fields.bandwidth_bytes_per_s),
        source=fields.source,
        memory_bytes=None if memory_gib is None else round(memory_gib * BYTES_PER_GIB),
        compute_capability=fields.compute_capability,
        num_sms=fields.num_sms,
        vector_flops=_rates(fields.vector_flops),
    )


def _rates(rates: Mapping[DtypeKey, float]) -> Mapping[str, int]:
    return {dtype: round(rate) for dtype, rate in rates.items()}
