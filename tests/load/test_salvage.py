"""Files that are cut off or damaged: all that was whole is read, and the notes count the rest."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Final

import pytest
import zstandard
from loaded import assert_same, codes, complete, counts, load_text, rich

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load.mending import mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.layouts import Style
    from mmprof.analyzers.trace import Trace

STYLES: Final[tuple[Style, ...]] = (
    "kineto",
    "metadata_after",
    "bare_array",
    "python_export",
    "cupti_monitor",
)
NOTHING_TO_READ: Final = {"MM-E003", "MM-E005", "MM-E009"}


def positions(trace: Trace) -> set[int]:
    """Positions in traceEvents of everything that the tables hold."""
    tables = (
        trace.host,
        trace.activities,
        trace.device_annotations,
        trace.syncs,
        trace.memory,
        trace.other,
    )
    return {event for table in tables for event in table["event"].to_list()}


def ends_of_events(text: str) -> list[int]:
    """Where each event ends, found by reading the array as JSON."""
    at = text.index("[", text.find('"traceEvents"')) + 1 if "traceEvents" in text else 1
    decoder = json.JSONDecoder()
    ends: list[int] = []
    while True:
        at = re.compile(r"[\s,]*").match(text, at).end()  # type: ignore[union-attr]
        if text[at] == "]":
            return ends
        _, at = decoder.raw_decode(text, at)
        ends.append(at)


@pytest.mark.parametrize("style", STYLES)
def test_every_event_before_a_cut_is_read(tmp_path: Path, style: Style) -> None:
    text = rich().text(style)
    ends, everything = ends_of_events(text), positions(load_text(tmp_path, text))
    cuts = [*range(1, len(text), 307), *(end + by for end in ends[::9] for by in (-1, 0, 1, 2))]
    for cut in (cut for cut in cuts if cut < len(text.rstrip())):
        whole = sum(end <= cut for end in ends)
        expected = {event for event in everything if event < whole}
        try:
            trace = load_text(tmp_path, text[:cut])
        except MmprofError as error:
            assert error.code in NOTHING_TO_READ
            assert whole <= min(everything) or not expected
            continue
        assert positions(trace) == expected, cut
        assert trace.notes[0].code == "MM-N001"
        assert "MM-N015" not in codes(trace)
        assert trace.facts.events == whole


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_cut_in_compressed_data_leaves_the_events_before_it(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    text = rich().text()
    data, everything = compress(text.encode()), positions(load_text(tmp_path, text))
    for cut in range(1, len(data), 97):
        try:
            trace = load_text(tmp_path, data[:cut])
        except MmprofError as error:
            assert error.code in NOTHING_TO_READ
            continue
        assert positions(trace) == {event for event in everything if event < trace.facts.events}
        assert trace.notes[0].message.endswith("(the compressed data ends before its end)")
        assert "MM-N015" not in codes(trace)


def test_a_cut_in_the_metadata_keeps_what_is_whole(tmp_path: Path) -> None:
    text = rich().text("metadata_after")
    trace = load_text(tmp_path, text[: text.index('"baseTimeNanoseconds"') + 30])
    assert len(trace.activities) == 8
    assert trace.metadata["displayTimeUnit"] == "ms"
    assert trace.notes[0].message.endswith("(what follows the list of events has no end)")


def test_the_list_may_end_with_a_comma(tmp_path: Path) -> None:
    event = json.dumps(complete("cpu_op", "op", 1, 1))
    for text in (
        f"[{event},\n]",
        f'{{"traceEvents": [{event}, {event}, ], "distributedInfo": {{"rank": 4}}}}',
    ):
        trace = load_text(tmp_path, text)
        assert trace.host["name"].unique().to_list() == ["op"]
        assert codes(trace) == ["MM-N004"]
        assert trace.rank == (4 if "rank" in text else 0)


def test_damage_in_the_last_event_does_not_cost_the_metadata(tmp_path: Path) -> None:
    event = json.dumps(complete("cpu_op", "op", 1, 1))
    damaged = event.replace('"op"', '"o"p"')
    trace = load_text(
        tmp_path, f'{{"traceEvents": [{event}, {damaged}], "distributedInfo": {{"rank": 4}}}}'
    )
    assert (trace.rank, counts(trace)) == (4, {"MM-N015": 1})
    assert "MM-N001" not in codes(trace)


def test_the_end_of_a_list_in_an_event_is_not_the_end_of_the_events(tmp_path: Path) -> None:
    event = json.dumps(complete("cpu_op", "op", 1, 1, parts=[{"a": 1}, {"b": 2}], after=3))
    damaged = event.replace('"op"', '"o"p"')
    for texts in ([damaged, event, event], [event, damaged, event], [event, event, damaged]):
        trace = load_text(
            tmp_path, '{"traceEvents": [' + ", ".join(texts) + '], "a": [{"b": 1}], "c": 2}'
        )
        assert len(trace.host) == 2
        assert trace.metadata == {"a": [{"b": 1}], "c": 2}


# --- mending ------------------------------------------------------------------------------------------------------

MENDED: Final = {
    r'"C:\temp\x"': "C:\temp\\x",
    r'"a\qb"': r"a\qb",
    r'"\ud800"': "\ufffd",
    r'"\udc00x"': "\ufffdx",
    r'"\ud83d\ude00"': "\U0001f600",
    '"tab\tand\nline\x01"': "tab and line ",
    b'"\xff\xfe"': "\ufffd\ufffd",
    b'"\xed\xa0\x80"': "\ufffd\ufffd\ufffd",
}


@pytest.mark.parametrize(("written", "read"), MENDED.items())
def test_names_that_are_not_valid_json_are_mended(
    tmp_path: Path, written: str | bytes, read: str
) -> None:
    event = json.dumps(complete("cpu_op", "NAME", 1, 1)).encode()
    raw = written if isinstance(written, bytes) else written.encode()
    trace = load_text(tmp_path, b"[" + event + b"," + event.replace(b'"NAME"', raw) + b"]")
    assert sorted(trace.host["name"].cast(str)) == sorted(["NAME", read])
    valid = raw == rb'"\ud83d\ude00"'
    assert counts(trace) == ({} if valid else {"MM-N014": 1})


@pytest.mark.parametrize("value", ["NaN", "nan", "-NaN", "inf", "-inf", "Infinity", "-Infinity"])
def test_bare_words_for_numbers_are_mended_and_the_rest_of_the_event_kept(
    tmp_path: Path, value: str
) -> None:
    args = (
        f'"blocks per SM": {value}, "l": [{value}, 1], "stream": 7, "device": 2, "bytes": {value}'
    )
    text = f'[{{"ph": "X", "cat": "kernel", "name": "k<inf, {value}>", "ts": 1.001, "dur": 2.5, "args": {{{args}}}}}]'
    trace = load_text(tmp_path, text)
    row = trace.activities.row(0, named=True)
    assert (row["name"], row["stream"], row["device"], row["bytes"]) == (
        f"k<inf, {value}>",
        7,
        2,
        None,
    )
    assert (row["start_ns"], row["end_ns"]) == (1001, 3501)
    assert counts(trace) == {"MM-N014": 1}


def test_empty_members_of_arguments_are_mended(tmp_path: Path) -> None:
    text = '[{"ph": "X", "cat": "kernel", "name": "k", "ts": 1, "dur": 2, "args": {"stream": 7, , "device": 3, }}]'
    assert load_text(tmp_path, text).activities["device"].to_list() == [3]


def test_what_is_valid_is_not_changed_by_mending() -> None:
    for text in (
        '{"a": "x: inf, NaN]", "b": [1.5e3, null]}',
        r'["\\", "\"", "é", "\u00e9"]',
        '"\\\\\\" , ]"',
    ):
        assert mend(text.encode()) == text.encode()


def test_mended_events_keep_their_nanoseconds(tmp_path: Path) -> None:
    """A float64 holds 16 digits before the point to a quarter of a microsecond."""
    text = '[{"ph": "X", "cat": "cpu_op", "name": "\\q", "ts": 1711500000000001.003, "dur": 2.007}]'
    trace = load_text(tmp_path, text)
    assert trace.host.select("start_ns", "end_ns").row(0) == (
        1711500000000001003,
        1711500000000003010,
    )


def test_positions_count_what_could_not_be_read(tmp_path: Path) -> None:
    op = json.dumps(complete("cpu_op", "op", 1, 1))
    trace = load_text(tmp_path, f'[{op}, 5, null, {op}, {{"ph": "B"}}, {{"no": 1}}, {op}]')
    assert trace.host["event"].to_list() == [0, 3, 6]
    assert counts(trace) == {"MM-N015": 3, "MM-N016": 1}
    assert trace.facts.events == 7


def test_zeros_after_the_document_are_ignored(tmp_path: Path) -> None:
    """A file system leaves them when a machine stops while it writes."""
    text = rich().text()
    assert_same(load_text(tmp_path, text), load_text(tmp_path, text.encode() + bytes(4096)))
