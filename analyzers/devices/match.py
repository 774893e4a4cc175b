"""Which device of the table a trace ran on, from the properties that Kineto records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.devices.partition import partition_of
from mmprof.analyzers.devices.properties import (
    DeviceProperties,
    fits,
    listing,
    read_properties,
)
from mmprof.analyzers.devices.table import TableEntry, load_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmprof.analyzers.devices.spec import DeviceSpec

_VENDOR_WORDS = re.compile(r"^((nvidia|tesla|amd)\s+)+")
_MIG_SUFFIX = re.compile(r"\s+mig\s.*$")
# What drivers write for a board whose marketing name they do not know.
_GENERIC_NAMES: Final = frozenset({"", "radeon graphics", "graphics device"})


@dataclass(frozen=True, slots=True)
class DeviceMatch:
    """The device of a trace.

    Attributes:
        spec: Its peaks; those of the partition where the trace saw a part of the board only.
        how: What decided, and what could not be decided, as part of a sentence: "by name".
    """

    spec: DeviceSpec
    how: str


def match_device(properties: Mapping[str, object]) -> DeviceMatch | None:
    """Find the device of one entry of Kineto's `deviceProperties`.

    A whole driver name decides; a name that several boards begin with is settled by SM count and
    memory; without a known name, compute capability, SM count and memory must point to a board.

    Args:
        properties: `name`, `totalGlobalMem`, `computeMajor`, `computeMinor`, `numSms`, `warpSize`;
            any may be missing or of another type.

    Returns:
        None where no entry fits. Where several do, the first of the table, and `how` names all.
    """
    device = read_properties(properties)
    name = _normalize(device.name)
    return (
        _match_alias(name, device) or _match_family(name, device) or _match_properties(name, device)
    )


def _normalize(driver_name: str) -> str:
    """Lower case, single spaces, without the vendor and the MIG profile."""
    name = " ".join(driver_name.lower().split())
    return _MIG_SUFFIX.sub("", _VENDOR_WORDS.sub("", f"{name} ")).strip()


def _match_alias(name: str, device: DeviceProperties) -> DeviceMatch | None:
    entries = [e for e in load_entries() if name in {a.lower() for a in e.aliases}]
    if not entries:
        return None
    spec, how = partition_of(entries[0].spec, device)
    return DeviceMatch(spec, f"by name{how}")


def _match_family(name: str, device: DeviceProperties) -> DeviceMatch | None:
    lengths = {len(f) for e in load_entries() for f in e.families if _begins(name, f)}
    longest = max(lengths, default=0)
    entries = [
        entry
        for entry in load_entries()
        if any(len(f) == longest and _begins(name, f) for f in entry.families)
        and fits(entry.spec, device)
    ]
    return _first_of(entries, f"by {listing(['name', *device.quantities()])}")


def _begins(name: str, family: str) -> bool:
    """Whether `name` is `family` or continues it with another word: "A100X" is no A100."""
    rest = name.removeprefix(family.lower())
    return rest != name and not rest[:1].isalnum()


def _match_properties(name: str, device: DeviceProperties) -> DeviceMatch | None:
    if device.compute_capability is None or not device.quantities():
        return None
    entries = [
        entry
        for entry in load_entries()
        if entry.match_properties
        and entry.spec.compute_capability == device.compute_capability
        and fits(entry.spec, device)
    ]
    major, minor = device.compute_capability
    found = listing([f"compute capability {major}.{minor}", *device.quantities()])
    unknown = "" if name in _GENERIC_NAMES else f" (the name {device.name!r} is not in the table)"
    return _first_of(entries, f"by {found}{unknown}")


def _first_of(entries: Sequence[TableEntry], how: str) -> DeviceMatch | None:
    if not entries:
        return None
    others = [entry.spec.name for entry in entries[1:]]
    ambiguous = f"; ambiguous, fits as well: {', '.join(others)}" if others else ""
    return DeviceMatch(entries[0].spec, how + ambiguous)
