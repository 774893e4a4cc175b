"""Candidates for reading a trace, on one file: seconds and peak memory, each in a process of its own.

usage: python benchmarks/parsers.py TRACE.json.gz [NAME ...]       (candidates that are not installed are skipped)

All of them end with the same eight columns in polars; `mmprof` ends with complete tables (names, times exact to the
nanosecond, nesting and links), so it does more.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections.abc import Callable

from paired import run

COLUMNS = ("ph", "cat", "name", "pid", "tid", "ts", "dur", "correlation")


def _rows_to_frame(events: list[dict[str, object]]) -> None:
    import polars as pl

    rows = {c: [e.get(c) for e in events] for c in COLUMNS[:-1]}
    rows["correlation"] = [(e.get("args") or {}).get("correlation") for e in events]
    pl.DataFrame(rows, strict=False)


def with_json(path: str) -> None:
    """The standard library."""
    with gzip.open(path) as file:
        _rows_to_frame(json.load(file)["traceEvents"])


def with_orjson(path: str) -> None:
    """orjson: dictionaries, as TraceLens does."""
    import orjson

    with gzip.open(path) as file:
        _rows_to_frame(orjson.loads(file.read())["traceEvents"])


def with_ijson(path: str) -> None:
    """ijson: one event at a time, bounded memory but for the columns."""
    import ijson
    import polars as pl

    rows: dict[str, list[object]] = {c: [] for c in COLUMNS}
    with gzip.open(path) as file:
        for event in ijson.items(file, "traceEvents.item"):
            for column in COLUMNS[:-1]:
                rows[column].append(event.get(column))
            rows["correlation"].append((event.get("args") or {}).get("correlation"))
    pl.DataFrame(rows, strict=False)


def with_msgspec(path: str) -> None:
    """msgspec: typed structs of the whole document, one process."""
    import msgspec
    import polars as pl
    from isal import igzip

    args = msgspec.defstruct("Args", [("correlation", int | str | None, None)])
    event = msgspec.defstruct(
        "Event",
        [(c, object, None) for c in COLUMNS[:-1]] + [("args", args | None, None)],
    )
    document = msgspec.defstruct("Document", [("traceEvents", list[event])])
    with igzip.open(path) as file:
        events = msgspec.json.decode(file.read(), type=document).traceEvents
    rows = {c: [getattr(e, c) for e in events] for c in COLUMNS[:-1]}
    rows["correlation"] = [e.args.correlation if e.args else None for e in events]
    pl.DataFrame(rows, strict=False)


def with_duckdb(path: str) -> None:
    """duckdb: the event array cut out into a file, read with a schema; `ts` as text to keep its digits."""
    import tempfile
    from pathlib import Path

    import duckdb
    from isal import igzip

    with igzip.open(path) as file:
        text = file.read()
    start = text.index(b'"traceEvents": [') + len(b'"traceEvents": ')
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "events.json"
        array.write_bytes(text[start : text.rindex(b"]") + 1])
        columns = dict.fromkeys(COLUMNS[:-1], "VARCHAR") | {"args": "STRUCT(correlation BIGINT)"}
        duckdb.sql(f"SELECT * FROM read_json('{array}', format='array', columns={columns})").pl()


def with_polars(path: str) -> None:
    """polars: one event a line, then read_ndjson; `ts` becomes a float64 and loses nanoseconds."""
    import polars as pl
    from isal import igzip

    with igzip.open(path) as file:
        text = file.read()
    start = text.index(b'"traceEvents": [') + len(b'"traceEvents": [')
    lines = text[start : text.rindex(b"]")].replace(b"\n", b" ").replace(b"  },   {", b"}\n{")
    schema = dict.fromkeys(COLUMNS[:-1], pl.String) | {
        "ts": pl.Float64,
        "dur": pl.Float64,
        "args": pl.Struct({"correlation": pl.Int64}),
    }
    pl.read_ndjson(lines, schema=schema)


def with_mmprof(path: str) -> None:
    """mmprof: blocks of typed structs decoded by processes, straight into columns."""
    from mmprof.analyzers.load import load

    load(path)


CANDIDATES: dict[str, tuple[Callable[[str], None], str]] = {
    "json": (with_json, "json"),
    "orjson": (with_orjson, "orjson"),
    "ijson": (with_ijson, "ijson"),
    "msgspec": (with_msgspec, "msgspec"),
    "duckdb": (with_duckdb, "duckdb"),
    "polars": (with_polars, "polars"),
    "mmprof": (with_mmprof, "mmprof"),
}


def main(path: str, names: list[str]) -> None:
    """Print a line a candidate."""
    run(["gzip", "-dc", path])
    print(f"{'gzip -dc':10} {run(['gzip', '-dc', path]).wall_s:8.2f} s")
    for name in names or CANDIDATES:
        if importlib.util.find_spec(CANDIDATES[name][1]) is None:
            print(f"{name:10} not installed")
            continue
        best = min(
            (run([sys.executable, __file__, "--one", name, path]) for _ in range(3)),
            key=lambda r: r.wall_s,
        )
        print(f"{name:10} {best.wall_s:8.2f} s {best.peak_bytes / 1e6:8.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        CANDIDATES[sys.argv[2]][0](sys.argv[3])
    else:
        main(sys.argv[1], sys.argv[2:])
