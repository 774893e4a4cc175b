"""Registered tables as rows, and values shown by the name of their column."""

from __future__ import annotations

import pytest

from mmprof.analyzers.analyze import Report
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.registry import tables
from mmprof.cli.renderers import sheets


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("time_ns", 1_500, "1.50 us"),
        ("start_ns", 921_450_012_125_219, "921450012125.219 us"),
        ("idle_share", 0.5, "50.0 %"),
        ("share", 0.00001, "<0.1 %"),
        ("coverage", 1.0, "100.0 %"),
        ("occupancy_percent", 12.5, "12.5 %"),
        ("bytes", 4096, "4.00 KiB"),
        ("allocated_bytes", 1, "1 B"),
        ("flops", 1_000_000, "1.00 MFLOP"),
        ("bandwidth_bytes_per_s", 3_350_000_000_000, "3.35 TB/s"),
        ("gbytes_per_s", 0.06, "60.0 MB/s"),
        ("busbw_gb_s", 12.0, "12.0 GB/s"),
        ("count", 12_345, "12,345"),
        ("ratio", 0.5, "0.50"),
        ("blocking", True, "yes"),
        ("name", "", "(none)"),
        ("name", "aten::mm", "aten::mm"),
        ("anything", None, "-"),
        ("parts_ns", {"python": 1_000}, "python 1.00 us"),
        ("sizes", [1, 2], "1, 2"),
    ],
)
def test_values_are_shown_by_the_name_of_their_column(
    column: str, value: object, text: str
) -> None:
    assert sheets.shown(column, value) == text


@pytest.mark.parametrize(
    ("column", "heading"),
    [
        ("time_ns", "time"),
        ("host_self_ns", "host self"),
        ("occupancy_percent", "occupancy"),
        ("busbw_gb_s", "busbw"),
    ],
)
def test_headings_leave_units_to_the_values(column: str, heading: str) -> None:
    assert sheets.heading(column) == heading


def test_shares_are_of_what_the_table_says(report: Report) -> None:
    classes = sheets.sheet(sheets.table_named("class"), report.devices)
    assert classes.columns[0] == "class"
    assert classes.columns[-1] == "share"
    assert [row[0] for row in classes.rows] == ["linear", "activation", "memcpy"]
    assert [row[-1] for row in classes.rows] == [40 / 62, 10 / 62, 2 / 62]


def test_rows_beyond_top_are_counted(report: Report) -> None:
    classes = sheets.sheet(sheets.table_named("class"), report.devices, 1)
    assert len(classes.rows) == 1
    assert sheets.more_rows(classes) == "2 more rows (--top)"


def test_ranks_are_columns_where_there_are_several(ranks: Report) -> None:
    classes = sheets.sheet(sheets.table_named("class"), ranks.devices, 1)
    assert classes.columns[:3] == ("rank", "device", "class")
    assert [row[0] for row in classes.rows] == [0, 1, 10, 11, *range(2, 10)]


def test_every_registered_column_exists_in_its_rows(report: Report) -> None:
    for table in tables():
        assert isinstance(sheets.sheet(table, report.devices).rows, list)


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(MmprofError) as caught:
        sheets.table_named("clas")
    assert "class" in caught.value.hint
