"""Tracks as events of the Trace Event Format, in JSON.

Complete events (`X`) for spans, metadata (`M`) for names and order, flows (`s`, `f`) for arrows. Times are microseconds
with three decimals, which hold every nanosecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import polars as pl

from mmprof.analyzers.load.categories import TRACKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmprof.analyzers.annotated.tracks import DeviceTracks, Track

TEXT_LIMIT: Final = 300
"""Characters of a name that are shown with a span; kernels' names can be thousands long."""

_SPANS_AT_ONCE: Final = 20_000
_SPAN_COLUMNS: Final = ("start_ns", "end_ns", "name", "cname")
_THREAD_OF_FIRST_TRACK: Final = 1


class Row(NamedTuple):
    """A row of a viewer."""

    pid: int
    tid: int


def micros(ns: int) -> bytes:
    """Nanoseconds as microseconds with three decimals."""
    whole, rest = divmod(abs(ns), 1000)
    return b"%s%d.%03d" % (b"-" * (ns < 0), whole, rest)


def process_events(pid: int, name: str, sort_index: int) -> list[bytes]:
    """The name of a process and its place among all."""
    return [
        _metadata("process_name", Row(pid, 0), {"name": name}),
        _metadata("process_sort_index", Row(pid, 0), {"sort_index": sort_index}),
    ]


def rows_of(device: DeviceTracks, pid: int) -> list[tuple[Row, Track]]:
    """The row of each track, where the device is a process of its own."""
    return [
        (Row(pid, tid), track)
        for tid, track in enumerate(device.tracks, start=_THREAD_OF_FIRST_TRACK)
    ]


def device_events(
    device: DeviceTracks, pid: int, *, name: str, sort_index: int, shift_ns: int = 0
) -> Iterator[bytes]:
    """The events of all tracks of a device, as texts that commas join.

    Args:
        device: The tracks.
        pid: The process that stands for the device.
        name: Its name.
        sort_index: Its place among all processes.
        shift_ns: What to add to all times.
    """
    yield from process_events(pid, name, sort_index)
    for row, track in rows_of(device, pid):
        yield _metadata("thread_name", row, {"name": track.name})
        yield _metadata("thread_sort_index", row, {"sort_index": row.tid})
    for row, track in rows_of(device, pid):
        for spans in track.spans.iter_slices(_SPANS_AT_ONCE):
            yield ",\n".join(_complete(spans, row, shift_ns)).encode()


def arrow_events(number: int, name: str, ends: tuple[tuple[Row, int], tuple[Row, int]]) -> bytes:
    """An arrow between the spans that begin at two times of two rows."""
    common = {"cat": TRACKS, "name": name, "id": number}
    (from_row, from_ns), (to_row, to_ns) = ends
    start = {"ph": "s", **common, **from_row._asdict(), "ts": msgspec.Raw(micros(from_ns))}
    end = {"ph": "f", "bp": "e", **common, **to_row._asdict(), "ts": msgspec.Raw(micros(to_ns))}
    return msgspec.json.encode(start) + b",\n" + msgspec.json.encode(end)


def _metadata(what: str, row: Row, args: dict[str, str | int]) -> bytes:
    return msgspec.json.encode(
        {"ph": "M", "cat": TRACKS, "name": what, **row._asdict(), "ts": 0, "args": args}
    )


def _complete(spans: pl.DataFrame, row: Row, shift_ns: int) -> pl.Series:
    start, length = pl.col("start_ns") + shift_ns, pl.col("end_ns") - pl.col("start_ns")
    named = [name for name in spans.columns if name not in _SPAN_COLUMNS]
    texts = spans.with_columns(_json(spans[name]) for name in spans.columns[2:])
    color = _member("cname") if "cname" in spans.columns else pl.lit("")
    args = pl.concat_str(pl.lit(""), *(_member(name) for name in named))
    return texts.select(
        event=pl.concat_str(
            pl.lit(f'{{"ph":"X","cat":"{TRACKS}","name":'),
            "name",
            pl.lit(f',"pid":{row.pid},"tid":{row.tid},"ts":'),
            _micros(start),
            pl.lit(',"dur":'),
            _micros(length),
            color,
            pl.lit(',"args":{'),
            args.str.strip_prefix(","),
            pl.lit("}}"),
        )
    ).to_series()


def _member(name: str) -> pl.Expr:
    """The member of an object with a comma before it; nothing for null."""
    key = msgspec.json.encode(name).decode()
    return pl.concat_str(pl.lit(f",{key}:"), name).fill_null("")


def _micros(ns: pl.Expr) -> pl.Expr:
    whole, rest = ns.abs() // 1000, ns.abs() % 1000
    sign = pl.when(ns < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    digits = rest.cast(pl.String).str.zfill(3)
    return pl.concat_str(sign, whole.cast(pl.String), pl.lit("."), digits)


def _json(values: pl.Series) -> pl.Series:
    """The JSON text of each value; null and the empty text become null. Each distinct text is encoded once."""
    if values.dtype.is_integer():
        return values.cast(pl.String)
    texts = values.cast(pl.String)
    known = [text for text in texts.unique().to_list() if text]
    encoded = {text: msgspec.json.encode(text[:TEXT_LIMIT]).decode() for text in known}
    return texts.replace_strict(encoded, default=None, return_dtype=pl.String).alias(values.name)
