"""One trace in every layout that torch has written since 2021, and in every wrapping: always the same tables."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl
import pytest
import zstandard
from loaded import BASE_NS, assert_same, codes, load_text, rich

from fixtures.builder import TraceBuilder
from fixtures.planted import PLANTED
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.layouts import Style
    from fixtures.planted import Planted
    from mmprof.analyzers.trace import Trace

RELATIVE: Final[tuple[Style, ...]] = ("metadata_after", "python_export")
ABSOLUTE: Final[tuple[Style, ...]] = ("absolute_ns", "unpadded")
# What the monitor does not write, and so cannot be compared.
MONITORS_LOSS: Final = (
    "grid",
    "block",
    "collective",
    "element_type",
    "in_elements",
    "out_elements",
    "group_size",
)


def in_style(folder: Path, style: Style, trace: TraceBuilder | None = None) -> Trace:
    return load((trace or rich()).write(folder / f"{style}.json", style=style))


@pytest.mark.parametrize("style", RELATIVE)
def test_relative_layouts_have_equal_tables(tmp_path: Path, style: Style) -> None:
    assert_same(in_style(tmp_path, "kineto"), in_style(tmp_path, style))


@pytest.mark.parametrize("style", ABSOLUTE)
def test_absolute_layouts_differ_by_the_base_alone(tmp_path: Path, style: Style) -> None:
    relative, absolute = in_style(tmp_path, "kineto"), in_style(tmp_path, style)
    notes = tuple(n for n in absolute.notes if n.code != "MM-N017")
    assert_same(relative, replace(absolute, notes=notes), shift_ns=BASE_NS)


def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    kernels = in_style(tmp_path, "absolute_ns").activities.filter(pl.col("kind") == "kernel")
    origin_ns = rich().origin_ns
    assert (kernels["start_ns"] - origin_ns).to_list()[:3] == [1_005, 9_050, 12_000]
    assert (kernels["end_ns"] - origin_ns).to_list()[:3] == [2_010, 12_000, 13_700]


def test_times_without_leading_zeros_are_read_as_counts_of_nanoseconds_and_noted(
    tmp_path: Path,
) -> None:
    trace = in_style(tmp_path, "unpadded")
    assert trace.activities["start_ns"][0] == rich().origin_ns + 1_005  # written as ...001.5
    assert "MM-N017" in codes(trace)


def test_a_bare_array_has_the_same_tables_but_no_metadata(tmp_path: Path) -> None:
    array = in_style(tmp_path, "bare_array")
    assert_same(in_style(tmp_path, "kineto"), array)
    assert array.metadata == {}


def test_the_monitors_layout_keeps_all_that_it_writes(tmp_path: Path) -> None:
    assert_same(
        in_style(tmp_path, "kineto"), in_style(tmp_path, "cupti_monitor"), without=MONITORS_LOSS
    )


def test_whole_microseconds_are_exact_to_the_microsecond(tmp_path: Path) -> None:
    exact, whole = in_style(tmp_path, "kineto"), in_style(tmp_path, "microseconds")
    expected = exact.activities.select(
        "event",
        "launch",
        start_ns=(pl.col("start_ns") + BASE_NS) // 1000 * 1000,
        dur_ns=(pl.col("end_ns") - pl.col("start_ns")) // 1000 * 1000,
    ).sort("event")
    found = whole.activities.with_columns(dur_ns=pl.col("end_ns") - pl.col("start_ns"))
    linked = found.join(whole.host.select(launch="row", call="event"), on="launch", how="left")
    calls = exact.activities.join(
        exact.host.select(launch="row", call="event"), on="launch", how="left"
    )
    assert (
        found.sort("event")
        .select("event", "start_ns", "dur_ns")
        .equals(expected.select("event", "start_ns", "dur_ns"))
    )
    assert linked.sort("event")["call"].equals(calls.sort("event")["call"])


def test_names_and_rows_of_2021_are_understood(tmp_path: Path) -> None:
    trace = in_style(tmp_path, "legacy_2021")
    assert trace.activities["kind"].value_counts().sort("kind")["count"].to_list() == [6, 1, 1]
    assert trace.activities["device", "stream"].unique().sort("device", "stream").rows() == [
        (0, 7),
        (0, 20),
        (1, 3),
    ]
    assert trace.activities["launch"].null_count() == 1  # the carry-in
    assert trace.host["kind"].value_counts().sort("kind").rows() == [
        ("operator", 3),
        ("runtime", 9),
    ]  # an annotation that is not one of the profiler's own is an operator there


@pytest.mark.parametrize(
    "style", ["metadata_after", "python_export", "bare_array", "cupti_monitor"]
)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.__name__)
def test_planted_traces_have_equal_activities_in_every_layout(
    tmp_path: Path, planted: Callable[[], Planted], style: Style
) -> None:
    columns = (
        "event",
        "kind",
        "name",
        "device",
        "stream",
        "start_ns",
        "end_ns",
        "launch",
        "carry_in",
    )
    one, other = (in_style(tmp_path, s, planted()[0]) for s in ("kineto", style))
    assert one.activities.select(columns).equals(other.activities.select(columns))
    assert one.host.drop("call").equals(other.host.drop("call"))


# --- wrappings ----------------------------------------------------------------------------------------------------


def test_compression_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    plain = rich().text().encode()
    expected = load_text(tmp_path, plain)
    for data in (gzip.compress(plain), zstandard.compress(plain)):
        for name in ("trace.json", "trace.json.gz", "trace.json.zst", "trace"):
            assert_same(expected, load_text(tmp_path, data, name=name))


def test_several_members_are_one_file(tmp_path: Path) -> None:
    plain = rich().text().encode()
    halves = (plain[:5_000], plain[5_000:])
    expected = load_text(tmp_path, plain)
    assert_same(expected, load_text(tmp_path, b"".join(map(gzip.compress, halves))))
    assert_same(expected, load_text(tmp_path, b"".join(map(zstandard.compress, halves))))


def test_padding_after_the_last_member_is_ignored(tmp_path: Path) -> None:
    plain = rich().text().encode()
    assert_same(load_text(tmp_path, plain), load_text(tmp_path, gzip.compress(plain) + bytes(512)))


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_standard_input(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    plain = rich().text().encode()
    script = (
        "from mmprof.analyzers.load import load\n"
        "t = load('-', processes=3)\n"  # cannot be read twice: read by one process
        "print(t.facts.path, t.facts.bytes, t.activities['start_ns'].to_list())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=compress(plain),
        capture_output=True,
        check=True,
        timeout=60,
    )
    expected = load_text(tmp_path, plain).activities["start_ns"].to_list()
    assert done.stdout.decode().strip() == f"- {len(compress(plain))} {expected}"


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b" \r\n\t\n", b" " * 600_000], ids=["bom", "blanks", "many"]
)
@pytest.mark.parametrize("style", ["kineto", "bare_array"])
def test_what_stands_before_the_document_is_skipped(
    tmp_path: Path, before: bytes, style: Style
) -> None:
    text = rich().text(style).encode()
    assert_same(load_text(tmp_path, text), load_text(tmp_path, before + text))


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    data = gzip.compress(rich().text().encode())
    trace = load_text(tmp_path, data)
    assert (trace.facts.bytes, trace.facts.events) == (len(data), len(rich().events))
    assert len(trace.facts.sha256) == 64


# --- metadata -----------------------------------------------------------------------------------------------------

EVENT: Final = (
    '{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 5, "dur": 7}'
)
INFO: Final = (
    '"distributedInfo": {"backend": "nccl", "rank": 3}, "deviceProperties": [{"id": 0}, {"id": 1}]'
)


@pytest.mark.parametrize(
    "text",
    [
        f'{{{INFO}, "traceEvents": [{EVENT}]}}',
        f'{{"traceEvents": [{EVENT}], {INFO}}}',
        f'{{"a": 1, {INFO}, "traceEvents": [{EVENT}], "b": {{"c": [1, {{}}]}}}}\n\n',
        f'{{\n"x": {{"traceEvents": [1, 2]}}, {INFO},\n"traceEvents"\n:\n[\n{EVENT}\n]\n}}',
        f'{{"x": [[[{{"y": {{"traceEvents": [1]}}}}]]], {INFO}, "traceEvents": [{EVENT}]}}',
        f'{{"note": "\\"traceEvents\\": [", {INFO}, "traceEvents": [{EVENT}]}}',
    ],
    ids=["before", "after", "around", "nested key", "deeply nested key", "key in a string"],
)
def test_metadata_is_read_wherever_it_stands(tmp_path: Path, text: str) -> None:
    trace = load_text(tmp_path, text)
    assert trace.rank == 3
    assert trace.device_properties(1) == {"id": 1}
    assert trace.host["start_ns"].to_list() == [5_000]
    assert codes(trace) == ["MM-N004"]


def test_damaged_metadata_costs_only_its_own_member(tmp_path: Path) -> None:
    """LOG text with quotes in it was written as it came until 2026-07; a bare inf until 2026-06."""
    text = (
        '{\n  "schemaVersion": 1,\n  "deviceProperties": [\n    {\n      "id": 0, "name": "H100",\n      "numSms": 132\n'
        '    }\n  ],\n  "INFO": ["said "hello""],\n  "roctracer_version": inf,\n  "distributedInfo": {"rank": 5},\n'
        f'  "traceEvents": [\n  {EVENT}\n  ],\n  "traceName": "a\\qb",\n  "WARNING": ["say "no""],\n  "last": 2\n}}\n'
    )
    trace = load_text(tmp_path, text)
    assert trace.rank == 5
    assert trace.device_properties(0)["numSms"] == 132
    assert trace.metadata["traceName"] == "a\\qb"
    assert trace.metadata["last"] == 2
    assert "INFO" not in trace.metadata
