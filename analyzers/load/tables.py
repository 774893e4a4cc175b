"""Decoded blocks to the tables of a `Trace`."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.load import columns as b
from mmprof.analyzers.load.checks import check
from mmprof.analyzers.load.freed import give_back_freed
from mmprof.analyzers.load.link import link
from mmprof.analyzers.load.read import RawTrace
from mmprof.analyzers.load.times import OFF_BY_NS
from mmprof.analyzers.notes import Note, note
from mmprof.analyzers.trace import InputFacts, Trace

_COMMON: Final = ("event", "category", "name", "thread")
_KINDS: Final = pl.Enum([*c.HOST_KINDS, *c.DEVICE_KINDS, c.OVERHEAD, c.MEMORY, c.OTHER])
_CODES: Final = {
    b.OPERATOR: ("call",),
    b.ACTIVITY: ("shape", "collective"),
}
_INTS: Final = {
    b.HOST: (),
    b.OPERATOR: ("sequence", "forward_thread"),
    b.LAUNCH: ("correlation",),
    b.ACTIVITY: ("correlation", "stream", "device", "bytes", "graph_node", "occupancy_percent"),
    b.SYNC: ("correlation", "stream", "device", "wait_on_stream", "wait_on_correlation"),
    b.MEMORY: ("address", "bytes", "total_allocated", "total_reserved", "device_type", "device"),
    b.OTHER: (),
}
_ROW_NUMBERS: Final = 1 << 12
_UNKNOWN_DEVICE: Final = -2  # -1 is the host (view.HOST_DEVICE)
_COLLECTIVE: Final = {
    "collective": pl.String,
    "element_type": pl.String,
    "in_elements": pl.Int64,
    "out_elements": pl.Int64,
    "group_size": pl.Int64,
}
_TABLE_OF_CODE: Final = {
    "category": "categories",
    "name": "names",
    "thread": "threads",
    "call": "calls",
    "shape": "shapes",
    "collective": "collectives",
}


_Held = list[tuple[int, b.Columns]]


class UnevenDurationsError(Exception):
    """A duration has to be read from its text: the file has to be read again with `exact`."""


class _Vocabulary:
    """One numbering for the code tables of all decoders: values in order, whoever met them first."""

    def __init__(self, raw: RawTrace) -> None:
        self._values = {field: _distinct(field, raw) for field in _TABLE_OF_CODE.values()}
        codes = {
            field: dict(zip(values, range(len(values)), strict=True))
            for field, values in self._values.items()
        }
        self._maps = [_numbering(share.tables, codes) for share in raw.shares]

    def translate(self, share: int, column: str, local: pl.Series) -> pl.Series:
        """The codes of one share's column in the common numbering."""
        field = _TABLE_OF_CODE.get(column)
        return local if field is None else self._maps[share][field][local].alias(column)

    def values(self, field: str) -> list[Any]:
        """What the common codes of a table stand for."""
        return self._values[field]


def _distinct(field: str, raw: RawTrace) -> list[Any]:
    found = {_key(field, value) for share in raw.shares for value in getattr(share.tables, field)}
    if field == "calls":
        found.add(b.NO_CALL)  # code 0: the empty text is first in order
    return sorted(found, key=_numbers_first) if field == "threads" else sorted(found)


def _numbers_first(thread: b.Thread) -> tuple[tuple[bool, int | str], ...]:
    return tuple((isinstance(v, str), v) for v in thread)


def _numbering(tables: b.Tables, codes: Mapping[str, Mapping[Any, int]]) -> dict[str, pl.Series]:
    return {
        field: pl.Series([known[_key(field, v)] for v in getattr(tables, field)], dtype=pl.UInt32)
        for field, known in codes.items()
    }


def build(raw: RawTrace) -> Trace:
    """The typed tables of a trace that was read, linked and nested.

    Raises:
        UnevenDurationsError: The durations of the file have to be read from their text.
    """
    words = _Vocabulary(raw)
    frames = {family: _frame(raw, words, family) for family in _INTS}
    raw.shares.clear()
    give_back_freed()
    host, cut = nesting.nest(_host([frames.pop(f) for f in (b.OPERATOR, b.LAUNCH, b.HOST)]))
    activities, syncs, device_annotations = _device_frames(frames, words, host)
    trace = Trace(
        facts=InputFacts(raw.source.name, raw.source.sha256, raw.source.read_bytes, raw.events),
        metadata=raw.metadata,
        rank=_rank(raw.metadata),
        notes=(),
        host=host,
        activities=activities,
        device_annotations=device_annotations,
        syncs=syncs,
        memory=frames[b.MEMORY].drop("category", "name", "dur_ns"),
        other=_other(frames[b.OTHER]),
        threads=_threads(words.values("threads"), raw.labels),
        calls=_calls(words.values("calls")),
        kept_out=raw.kept_out,
    )
    return trace.with_notes(*_notes(raw, cut, trace))


def _key(field: str, value: Any) -> Any:
    """What makes a value distinct, however it is written.

    Files of 2021 write a thread's id as text in operators and as a number elsewhere; JSON comes with blanks or without.
    """
    if field == "threads":
        return tuple(
            int(v) if isinstance(v, str) and re.fullmatch(r"[1-9]\d{0,17}", v) else v for v in value
        )
    if field in {"calls", "shapes"}:
        return tuple(msgspec.json.format(text, indent=-1) if text else "" for text in value)
    return tuple(value) if isinstance(value, list) else value


def _frame(raw: RawTrace, words: _Vocabulary, family: str) -> pl.DataFrame:
    """All events of one family, with names and categories as enums."""
    columns = (*_COMMON, *_CODES.get(family, ()), "start_ns", "dur_ns", *_INTS[family])
    parts = [
        _share_frame(held, words, i)
        for i, share in enumerate(raw.shares)
        for held in _by_form(share.blocks, family)
    ]
    schema = {n: pl.UInt32 if _is_code(n, family) else pl.Int64 for n in columns}
    frame = pl.concat([pl.DataFrame(schema=schema), *(p.select(columns) for p in parts if p.width)])
    return frame.with_columns(
        pl.col("name").cat.to(pl.Enum(words.values("names"))),
        pl.col("category").cat.to(pl.Enum(words.values("categories"))),
        pl.when(pl.col(_INTS[family]) != b.NULL).then(pl.col(_INTS[family])),
    )


def _is_code(column: str, family: str) -> bool:
    return column in _COMMON or column in _CODES.get(family, ())


def _by_form(blocks: Sequence[b.Block], family: str) -> list[_Held]:
    """The columns of a family, those whose durations are float64 apart from those whose durations were converted."""
    held = [(k.first_event, k.families[family]) for k in blocks if family in k.families]
    forms = ([h for h in held if h[1].micros], [h for h in held if not h[1].micros])
    return [form for form in forms if form]


def _share_frame(held: _Held, words: _Vocabulary, share: int) -> pl.DataFrame:
    first = held[0][1]
    parts = {n: [c.codes[n] for _, c in held] for n in first.codes}
    parts["first"] = [array("I", [at]).tobytes() * (len(c.codes["event"]) // 4) for at, c in held]
    codes = _joined(pl.UInt32, 4, parts)
    codes["event"] = codes["event"] + codes.pop("first")
    ints = _joined(pl.Int64, 8, {n: [c.ints[n] for _, c in held] for n in first.ints})
    if first.micros:
        micros = _joined(pl.Float64, 8, {"dur_ns": [c.micros for _, c in held]})
        ints["dur_ns"] = _nanoseconds(micros["dur_ns"])
    return pl.DataFrame({n: words.translate(share, n, s) for n, s in codes.items()} | ints)


def _nanoseconds(micros: pl.Series) -> pl.Series:
    """Durations as int64, which float64 holds with three decimals far below an hour.

    Raises:
        UnevenDurationsError: One is missing, negative, too long, or has more than three decimals.
    """
    scaled = micros * 1000.0
    whole = scaled.round()
    lowest, highest, off = whole.min(), whole.max(), (scaled - whole).abs().max()
    regular = cast("float", lowest) >= 0 and cast("float", highest) < b.MAX_DUR_NS
    if scaled.is_nan().any() or not (regular and cast("float", off) < OFF_BY_NS):
        raise UnevenDurationsError
    return whole.cast(pl.Int64)


def _joined(
    dtype: type[pl.DataType], size: int, columns: Mapping[str, list[bytes]]
) -> dict[str, pl.Series]:
    """Columns of equal length from the bytes of their parts, all at once and without an object for each number.

    They are reinterpreted in rows of some thousand numbers: for a single long row polars would double its memory again and again.
    The last row is filled up; what fills it comes after all columns.
    """
    data = b"".join(part for parts in columns.values() for part in parts)
    count, width = len(data) // size, _ROW_NUMBERS * size
    rows = [data[at : at + width] for at in range(0, len(data), width)]
    rows[-1:] = [row.ljust(width, b"\0") for row in rows[-1:]]
    numbers = pl.Series(rows, dtype=pl.Binary).bin.reinterpret(
        dtype=pl.Array(dtype, _ROW_NUMBERS), endianness=sys.byteorder
    )
    flat, each = numbers.reshape((-1,)), count // max(1, len(columns))
    return {name: flat.slice(at * each, each) for at, name in enumerate(columns)}


def _with_kind(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the kind of each event from its category; the annotations of 2021 are known by their names."""
    categories = frame.schema["category"]
    assert isinstance(categories, pl.Enum)
    kinds = pl.Series([c.kind_of(v) for v in categories.categories], dtype=_KINDS)
    kind = kinds[frame["category"].to_physical()].alias("kind")
    if "Operator" not in categories.categories:
        return frame.with_columns(kind)
    annotation = pl.any_horizontal(
        pl.col("name").cast(pl.String).str.starts_with(p) for p in c.ANNOTATION_PREFIXES
    )
    legacy = pl.col("category") == "Operator"
    return frame.with_columns(kind).with_columns(
        pl.when(legacy & annotation)
        .then(pl.lit(c.ANNOTATION, _KINDS))
        .otherwise("kind")
        .alias("kind")
    )


def _host(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    parts = [_with_kind(f).drop("category") for f in frames]
    called = [
        p if "call" in p.columns else p.with_columns(call=pl.lit(0, pl.UInt32)) for p in parts
    ]
    return pl.concat(called, how="diagonal")


def _placed(frame: pl.DataFrame, threads: list[Any]) -> pl.DataFrame:
    """Device and stream as numbers: from the arguments, else from pid and tid (`stream 7` in 2021)."""
    pids = pl.Series([_number(pid) for pid, _ in threads], dtype=pl.Int64)
    tids = pl.Series([_number(tid) for _, tid in threads], dtype=pl.Int64)
    pid = pids[frame["thread"]]
    return frame.with_columns(
        pl.when(pl.col("device") >= 0)
        .then("device")
        .when(pid >= 0)
        .then(pid)
        .otherwise(_UNKNOWN_DEVICE)
        .alias("device"),
        pl.col("stream").fill_null(tids[frame["thread"]]).fill_null(-1),
    )


def _number(value: int | str) -> int | None:
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    digits = re.fullmatch(r"(?:\D{0,32})(\d{1,18})", value)
    return int(digits[1]) if digits else None


def _device_frames(
    frames: Mapping[str, pl.DataFrame], words: _Vocabulary, host: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Activities (linked to their launches), synchronisation records and device annotations."""
    threads = words.values("threads")
    placed = _with_kind(_placed(frames[b.ACTIVITY], threads)).with_columns(
        end_ns=pl.col("start_ns") + pl.col("dur_ns")
    )
    annotations = placed.filter(pl.col("kind") == c.DEVICE_ANNOTATION).select(
        "event", "name", "device", "stream", "start_ns", "end_ns"
    )
    syncs = _placed(frames[b.SYNC], threads).with_columns(
        end_ns=pl.col("start_ns") + pl.col("dur_ns")
    )
    activities = placed.filter(pl.col("kind") != c.DEVICE_ANNOTATION)
    described = _described(activities, words.values("shapes"), words.values("collectives"))
    return link(described, host), syncs.drop("category", "thread", "dur_ns"), annotations


def _described(
    activities: pl.DataFrame, shapes: list[b.Shape], collectives: list[b.Collective]
) -> pl.DataFrame:
    """Launch shape and collective in place of their codes."""
    grids = pl.DataFrame(shapes, schema={"grid": pl.String, "block": pl.String}, orient="row")
    groups = pl.DataFrame(collectives, schema=_COLLECTIVE, orient="row")
    return activities.drop("shape", "collective", "thread", "category").with_columns(
        *grids[activities["shape"]].get_columns(), *groups[activities["collective"]].get_columns()
    )


def _other(frame: pl.DataFrame) -> pl.DataFrame:
    ended = frame.with_columns(end_ns=pl.col("start_ns") + pl.col("dur_ns"))
    return ended.drop("dur_ns")


def _threads(
    threads: list[b.Thread], labels: list[tuple[str, int | str, int | str, str]]
) -> pl.DataFrame:
    names = {
        (str(pid), str(tid)): label for what, pid, tid, label in labels if what == "thread_name"
    }
    rows = [
        (code, str(pid), str(tid), names.get((str(pid), str(tid)), ""))
        for code, (pid, tid) in enumerate(threads)
    ]
    schema = {"thread": pl.UInt32, "pid": pl.String, "tid": pl.String, "name": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _calls(calls: list[b.Call]) -> pl.DataFrame:
    fields = ("dims", "types", "strides", "concrete", "kernel_backend", "kernel_kwargs")
    frame = pl.DataFrame(calls, schema=dict.fromkeys(fields, pl.String), orient="row")
    return frame.with_row_index("call")


def _rank(metadata: Mapping[str, Any]) -> int:
    info = metadata.get("distributedInfo")
    rank = info.get("rank", 0) if isinstance(info, dict) else 0
    return rank if isinstance(rank, int) and 0 <= rank < 2**31 else 0


def _notes(raw: RawTrace, cut: int, trace: Trace) -> list[Note]:
    found = []
    if reason := raw.source.cut or raw.incomplete:
        found.append(note("MM-N001", events=raw.events, reason=reason))
    if cut:
        found.append(note("MM-N005", count=cut))
    if raw.unpadded:
        found.append(note("MM-N017"))
    if tracks := len(trace.other.filter(pl.col("category") == c.TRACKS)):
        found.append(note("MM-N029", count=tracks))
    found += [note(code, count=count) for code, count in sorted(raw.counts.items()) if count]
    return sorted([*found, *_unknown_categories(trace.other), *check(trace)], key=lambda n: n.code)


def _unknown_categories(other: pl.DataFrame) -> list[Note]:
    unknown = other.filter(~pl.col("category").cast(pl.String).is_in(list(c.KIND_OF_CATEGORY)))
    if unknown.is_empty():
        return []
    names = unknown["category"].cast(pl.String).unique().sort().to_list()
    return [note("MM-N008", count=len(unknown), names=", ".join(repr(n[:40]) for n in names[:5]))]
