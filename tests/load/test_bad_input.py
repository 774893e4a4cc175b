"""Input that is no trace: each kind has its error code, says what was found, and never another exception."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from typing import TYPE_CHECKING, Any, Final

import pytest
import zstandard
from loaded import codes, complete, load_text, rich

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load, source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB: Final = 1 << 20


def error_of(folder: Path, text: str | bytes, **options: Any) -> MmprofError:
    with pytest.raises(MmprofError) as caught:
        load_text(folder, text, **options)
    assert caught.value.message
    assert caught.value.found
    assert caught.value.hint
    return caught.value


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [None, 2])
def test_a_missing_file(tmp_path: Path, processes: int | None) -> None:
    with pytest.raises(MmprofError) as caught:
        load(tmp_path / "missing.json", processes=processes)
    assert (caught.value.code, caught.value.found) == ("MM-E001", "no such file or directory")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MmprofError) as caught:
        load(tmp_path)
    assert (caught.value.code, caught.value.found) == ("MM-E001", "Is a directory")


def test_a_path_that_no_file_can_have() -> None:
    with pytest.raises(MmprofError) as caught:
        load("a\0b")
    assert caught.value.code == "MM-E001"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = rich().write(tmp_path / "trace.json")
    path.chmod(0)
    with pytest.raises(MmprofError) as caught:
        load(path)
    assert (caught.value.code, caught.value.found) == ("MM-E001", "Permission denied")


# --- nothing, or not JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", gzip.compress(b""), zstandard.compress(b"")], ids=["plain", "gzip", "zstd"]
)
def test_an_empty_file(tmp_path: Path, data: bytes) -> None:
    assert error_of(tmp_path, data).code == "MM-E002"


@pytest.mark.parametrize(
    "text",
    [
        " \n\t ",
        "\ufeff\n",
        "Traceback (most recent call last):",
        "<html>404</html>",
        "{'traceEvents': []}",
        '{"schemaVersion": 1, "deviceProperties": [{"id": 0, "na',
        '{"traceEvents": "abc',
        "[not json]",
        "[" * 100_000,
        "\x00" * 100,
        b"\xff\xfe{\x00}\x00",
        b"PK\x03\x04 a zip file",
    ],
)
def test_text_that_is_not_json(tmp_path: Path, text: str | bytes) -> None:
    assert error_of(tmp_path, text).code == "MM-E003"


# --- JSON, but no trace -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", "an object"),
        ('{"a": 1, "events": []}', "the keys 'a', 'events'"),
        ('{"wrapped": {"traceEvents": [{"ph": "X"}]}}', "the keys 'wrapped'"),
        ("[1, 2, 3]", "a list"),
        ('["a", null, [true]]', "a list"),
        ('[{"name": "no phase"}]', "a list"),
        ('"text"', "a string"),
        ("12.5", "a number"),
        ("true", "true or false"),
        ("null", "null"),
    ],
)
def test_json_that_is_no_trace(tmp_path: Path, text: str, found: str) -> None:
    error = error_of(tmp_path, text)
    assert (error.code, error.found) == ("MM-E004", found)


@pytest.mark.parametrize(
    "text",
    [
        '{"traceEvents": []}',
        '{"a": 1, "traceEvents": [ \n ], "b": 2}',
        '{"traceEvents": [',
        "[]",
        "[",
        '{"traceEvents": [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}}]}',
        '{"traceEvents": [{"ph": "i", "name": "mark", "ts": 1}, {"ph": "C", "name": "c"}, {"ph": "s", "id": 1}]}',
        '{"traceEvents": [{"ph": "B", "name": "begin", "ts": 1}, {"ph": "E", "ts": 2}]}',
        '{"traceEvents": [{"ph": "X", "cat": "unheard of", "name": "x", "ts": 1, "dur": 1}]}',
    ],
)
def test_a_trace_without_events_to_analyze(tmp_path: Path, text: str) -> None:
    assert error_of(tmp_path, text).code == "MM-E005"


def test_the_error_says_what_there_is_instead_of_events(tmp_path: Path) -> None:
    events = [
        {"ph": "C", "name": "c"},
        {"ph": "s"},
        {"ph": "f"},
        complete("Trace", "PyTorch Profiler (0)", 1, 2),
    ]
    error = error_of(tmp_path, json.dumps({"traceEvents": events}))
    assert error.found == "2 flow, 1 counter, 1 other among 4 entries"


WRONG_FIELDS: Final = {
    "ph": "X",
    "cat": 1,
    "name": [],
    "pid": None,
    "tid": {},
    "ts": {},
    "dur": "x",
    "args": 3,
}


@pytest.mark.parametrize(
    "events",
    [
        '"text"',
        "12",
        "null",
        '{"0": {}}',
        "[[1, 2], [3]]",
        '["a", 1, null, true]',
        '[{"ph": 5}, {"ph": null}, {"ph": []}]',
        '[{"a": 1}, {}]',
        f"[{json.dumps(WRONG_FIELDS)}]",
        '[{"ph": "X", "cat": "kernel", "name": "k"}]',
        "[" * 900 + "]" * 900,
    ],
)
@pytest.mark.parametrize("after", ["}", ', "traceName": "t"}'])
def test_events_of_wrong_types_throughout(tmp_path: Path, events: str, after: str) -> None:
    assert (
        error_of(tmp_path, f'{{"schemaVersion": 1, "traceEvents": {events}{after}').code
        == "MM-E008"
    )


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"traceEvents": ' + '{"a":' * 100_000]
)
def test_absurdly_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    assert error_of(tmp_path, text).code in {"MM-E003", "MM-E004"}


def test_an_absurdly_deep_event_is_skipped(tmp_path: Path) -> None:
    deep = (
        '{"ph": "X", "cat": "cpu_op", "name": "deep", "ts": 1, "dur": 1, "args": '
        + "[" * 100_000
        + "]" * 100_000
        + "}"
    )
    good = json.dumps(complete("cpu_op", "good", 5, 1))
    trace = load_text(tmp_path, f'{{"traceEvents": [{good}, {deep}, {good}]}}')
    assert trace.host["name"].to_list() == ["good", "good"]
    assert "MM-N015" in codes(trace)


# --- compression --------------------------------------------------------------------------------------------------


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def repeated_trace(size: int) -> bytes:
    event = json.dumps(complete("cpu_op", "aten::mm", 1, 1)).encode() + b","
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b'{"traceEvents": [')
    body = (packer.compress(event * (MIB // len(event))) for _ in range(size // MIB))
    return head + b"".join(body) + packer.flush()


BOMBS: Final = {
    "gzip zeros": zeros,
    "gzip events": repeated_trace,
    "zstd zeros": lambda size: zstandard.compress(bytes(size)),
    "zstd brackets": lambda size: zstandard.compress(b"[" * size),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused(
    tmp_path: Path, make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_BOMB_FLOOR_BYTES", 8 * MIB)
    assert error_of(tmp_path, make(10 * MIB)).code == "MM-E006"


@pytest.mark.parametrize("make", [zeros, repeated_trace])
def test_a_bomb_of_300_mib_is_refused_by_every_process(
    tmp_path: Path, make: Callable[[int], bytes]
) -> None:
    assert error_of(tmp_path, make(300 * MIB), processes=2).code == "MM-E006"


def test_a_small_file_may_compress_well(tmp_path: Path) -> None:
    assert len(load_text(tmp_path, repeated_trace(2 * MIB)).host) > 20_000


def test_little_is_decompressed_at_once(tmp_path: Path) -> None:
    """128 KB of zstd may hold 4 GB: it is refused before that is in memory."""
    path = tmp_path / "bomb.zst"
    path.write_bytes(zstandard.compress(bytes(200 * MIB)) * 2)
    largest = 0
    with pytest.raises(MmprofError, match="beyond any real trace"):
        for data in source.Source(str(path)):
            largest = max(largest, len(data))
    assert 0 < largest <= 64 * MIB


def test_nothing_readable_in_damaged_compression(tmp_path: Path) -> None:
    for data in (gzip.compress(rich().text().encode()), zstandard.compress(rich().text().encode())):
        for cut in (4, 12, 20):
            assert error_of(tmp_path, data[:cut]).code == "MM-E009"
        assert error_of(tmp_path, data[:8] + b"\xff" * 500).code == "MM-E009"


def test_events_before_the_damage_of_the_compression_are_read(tmp_path: Path) -> None:
    parts = [
        json.dumps(complete("cpu_op", f"op {os.urandom(40).hex()}", at, 1)) for at in range(20_000)
    ]
    data = gzip.compress(('{"traceEvents": [' + ",".join(parts) + "]}").encode())
    middle = len(data) // 2
    damaged = data[:middle] + bytes(64) + data[middle + 64 :]
    trace = load_text(tmp_path, damaged)
    assert 5_000 < len(trace.host) < 20_000
    assert trace.notes[0].code == "MM-N001"
    assert "damaged" in trace.notes[0].message or "no end" in trace.notes[0].message
