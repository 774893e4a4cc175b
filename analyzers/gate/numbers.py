"""The numbers of the analysis document that a condition can name, and the unit of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from mmprof.analyzers.choices import listed, nearest
from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.costing import BOUNDS
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.idle import CAUSES

NS: Final = "ns"
SHARE: Final = "share"
BYTES: Final = "bytes"
COUNT: Final = "count"

_SEVERITIES: Final = ("high", "medium", "low")
# What identifies a row or a device, and is no measurement.
_IDENTITY: Final = ("input", "rank", "device", "peak_flops", "class_shares")
_PLACE: Final = ("input", "rank", "device")


class _Share(NamedTuple):
    """A list of a device whose rows are shares: where it is, what its time is a share of, and all keys that there are."""

    rows: str
    whole: str
    keys: Sequence[str]


_SHARES: Final[Mapping[str, _Share]] = {
    "class": _Share("classes", "busy_ns", CLASSES),
    "cause": _Share("idle_causes", "window_ns", CAUSES),
    "bound": _Share("bounds", "busy_ns", BOUNDS),
}


def numbers(document: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a device that a condition can name.

    These are the scalar fields of its entry (`idle_share`, `roofline.coverage`), `class:linear` and `bound:memory` as
    shares of busy time, `cause:python` as a share of the window, the numbers of its phases (`phase:decode.idle_ns`), and
    `findings`, `findings.high`, `findings.medium` and `findings.low`.

    Args:
        document: An `mmprof.analysis/1` document.
        device: An entry of its `devices`.
    """
    found = dict(_scalars(device))
    for prefix, share in _SHARES.items():
        found |= {f"{prefix}:{key}": 0.0 for key in share.keys}
        whole = device[share.whole] or 1
        found |= {f"{prefix}:{row[prefix]}": row["time_ns"] / whole for row in device[share.rows]}
    for row in rows_of(document.get("phases", ()), device):
        found |= _scalars(row, f"phase:{row['phase']}.")
    severities = [row["severity"] for row in rows_of(document["findings"], device)]
    found |= {f"findings.{severity}": severities.count(severity) for severity in _SEVERITIES}
    return found | {"findings": len(severities)}


def unit_of(name: str) -> str:
    """The unit of a number of the document, by its name: `ns`, `share`, `bytes` or `count`."""
    if name.endswith(("share", "coverage")) or name.partition(":")[0] in _SHARES:
        return SHARE
    return next((unit for unit in (NS, BYTES) if name.endswith(f"_{unit}")), COUNT)


def unknown_name(name: str, names: Sequence[str], *, known: str = "") -> MmprofError:
    """The error for a condition on a number that there is not.

    Args:
        name: The name in the condition.
        names: Those that there are.
        known: How to see them all, in place of a list of them.
    """
    return MmprofError(
        "MM-E023",
        f"no number of this analysis is named {name!r}",
        found=known or listed(sorted(names, key=_depth), most=len(names)),
        hint=nearest(name, names),
    )


def rows_of(
    rows: Sequence[Mapping[str, Any]], device: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The rows of a list of the document that are of a device."""
    return [row for row in rows if all(row[key] == device[key] for key in _PLACE)]


def _scalars(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in fields.items():
        if name in _IDENTITY:
            continue
        if isinstance(value, Mapping):
            yield from _scalars(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", int(value) if isinstance(value, bool) else value


def _depth(name: str) -> int:
    """Fields of a device come first in a list of names, shares next, fields of fields last."""
    return ("." in name) * 2 + (":" in name)
