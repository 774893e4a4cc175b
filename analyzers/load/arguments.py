"""The arguments of events as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load import records as r
from mmprof.analyzers.load.layout import DAMAGE

T = TypeVar("T", bound=Struct)

_EMPTY: Final = Raw(b"{}")
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ARGS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    k.OPERATOR: msgspec.json.Decoder(list[r.OperatorArgs]),
    k.LAUNCH: msgspec.json.Decoder(list[r.LaunchArgs]),
    k.ACTIVITY: msgspec.json.Decoder(list[r.ActivityArgs]),
    k.SYNC: msgspec.json.Decoder(list[r.SyncArgs]),
    k.MEMORY: msgspec.json.Decoder(list[r.MemoryArgs]),
}


class ArgumentReader:
    """Turns the arguments of events of one family into columns; its code tables grow over all calls."""

    def __init__(self) -> None:
        self.calls, self.shapes, self.collectives = k.Codes({k.NO_CALL: 0}), k.Codes(), k.Codes()
        self._readers: dict[str, Callable[[list[Any], k.Columns], None]] = {
            k.OPERATOR: self._read_operators,
            k.LAUNCH: self._read_launches,
            k.ACTIVITY: self._read_activities,
            k.SYNC: _read_syncs,
            k.MEMORY: _read_memory,
        }

    def reads(self, family: str) -> bool:
        """Whether events of this family have arguments that are read."""
        return family in self._readers

    def add(self, family: str, args: list[Any], columns: k.Columns) -> None:
        """Add the columns of the arguments of events of a family that has any."""
        self._readers[family](args, columns)

    def add_raw(self, family: str, raw: list[Raw], columns: k.Columns) -> list[int]:
        """Add the columns of arguments that are still text; the rows whose arguments had to be repaired."""
        if not self.reads(family):
            return []
        args, repaired = _decode_args(_ARGS[family], raw)
        self.add(family, args, columns)
        return repaired

    def _read_operators(self, args: list[r.OperatorArgs], columns: k.Columns) -> None:
        columns.ints["sequence"] = k.whole([a.sequence for a in args])
        columns.ints["forward_thread"] = k.whole([a.forward_thread for a in args])
        columns.codes["call"] = (
            k.encode(self.calls, map(_call_of, args)) if _any_shapes(args) else bytes(4 * len(args))
        )

    def _read_launches(self, args: list[r.LaunchArgs], columns: k.Columns) -> None:
        columns.ints["correlation"] = k.whole([a.correlation for a in args])

    def _read_activities(self, args: list[r.ActivityArgs], columns: k.Columns) -> None:
        columns.ints["correlation"] = k.whole([a.correlation for a in args])
        columns.ints["stream"] = k.whole([a.stream for a in args])
        columns.ints["device"] = k.whole([a.device for a in args])
        columns.ints["bytes"] = k.whole([a.bytes for a in args])
        columns.ints["graph_node"] = k.whole([a.graph_node for a in args])
        columns.ints["occupancy_percent"] = k.whole([a.occupancy for a in args])
        columns.codes["shape"] = k.encode(
            self.shapes, [(_text(a.grid), _text(a.block)) for a in args]
        )
        columns.codes["collective"] = k.encode(self.collectives, map(_collective_of, args))


def _decode_args(
    decoder: msgspec.json.Decoder[list[T]], raw: list[Raw]
) -> tuple[list[T], list[int]]:
    """The arguments of the events, and which of them have a field of a wrong type, which is ignored."""
    present = [_EMPTY if a is r.ABSENT else a for a in raw]
    try:
        return decoder.decode(b"[" + b",".join(present) + b"]"), []
    except DAMAGE:
        read = [_one_args(decoder, a) for a in present]
    return [args for args, _ in read], [row for row, (_, repaired) in enumerate(read) if repaired]


def _one_args(decoder: msgspec.json.Decoder[list[T]], raw: Raw) -> tuple[T, bool]:
    """The arguments of one event without the fields of a wrong type, and whether there were any."""
    if (args := _args_or_none(decoder, bytes(raw))) is not None:
        return args, False
    try:
        fields = _FIELDS.decode(raw)
    except DAMAGE:
        fields = {}
    single = (msgspec.json.encode({name: value}) for name, value in fields.items())
    good = b",".join(text[1:-1] for text in single if _args_or_none(decoder, text) is not None)
    return decoder.decode(b"[{" + good + b"}]")[0], bytes(raw) != b"null"


def _args_or_none(decoder: msgspec.json.Decoder[list[T]], text: bytes) -> T | None:
    try:
        return decoder.decode(b"[" + text + b"]")[0]
    except DAMAGE:
        return None


def _text(raw: Raw) -> str:
    return str(raw, "utf-8", "replace")


def _any_shapes(args: list[r.OperatorArgs]) -> bool:
    """Whether any operator was recorded with shapes or types; a trace has them or has them not."""
    fields = ([a.types for a in args], [a.dims for a in args], [a.dims_2021 for a in args])
    return any(found.count(r.ABSENT) < len(args) for found in fields)


def _call_of(args: r.OperatorArgs) -> k.Call:
    if args.dims is r.ABSENT and args.types is r.ABSENT and args.dims_2021 is r.ABSENT:
        return k.NO_CALL
    return (
        _text(args.dims) or _text(args.dims_2021),
        _text(args.types),
        _text(args.strides),
        _text(args.concrete),
        _text(args.kernel_backend),
        _text(args.kernel_kwargs),
    )


def _collective_of(args: r.ActivityArgs) -> k.Collective:
    if args.collective is None:
        return ("", "", 0, 0, 0)
    sizes = (args.in_elements, args.out_elements, args.group_size)
    whole = [v if type(v) is int and abs(v) < 2**63 else 0 for v in sizes]
    return (str(args.collective), str(args.element_type or ""), whole[0], whole[1], whole[2])


def _read_syncs(args: list[r.SyncArgs], columns: k.Columns) -> None:
    columns.ints["correlation"] = k.whole([a.correlation for a in args])
    columns.ints["stream"] = k.whole([a.stream for a in args])
    columns.ints["device"] = k.whole([a.device for a in args])
    columns.ints["wait_on_stream"] = k.whole([a.wait_on_stream for a in args])
    columns.ints["wait_on_correlation"] = k.whole([a.wait_on_correlation for a in args])


def _read_memory(args: list[r.MemoryArgs], columns: k.Columns) -> None:
    columns.ints["address"] = k.whole([a.address for a in args])
    columns.ints["bytes"] = k.whole([a.bytes for a in args])
    columns.ints["total_allocated"] = k.whole([a.total_allocated for a in args])
    columns.ints["total_reserved"] = k.whole([a.total_reserved for a in args])
    columns.ints["device_type"] = k.whole([a.device_type for a in args])
    columns.ints["device"] = k.whole([a.device for a in args])
