"""JSON, Markdown and CSV of the same report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import msgspec
import pytest

from mmprof.analyzers.analyze import Report
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.registry import tables
from mmprof.cli.renderers import RenderOptions, renderers

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b`c``d\\|e",
    "a\n\n# b\r\n| c |",
    "![x](http://evil) [y](javascript:z) @team http://evil",
    "</code></details><img src=x onerror=y>",
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    '"quoted", twice',
    "\x1b[31m\u202e",
    "x" * 1_000_000,
]
OUR_TAGS = {"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>", "<!-- -->"}


def render(report: Report, name: str, **options: object) -> str:
    return renderers()[name].render(report, RenderOptions(**options))  # type: ignore[arg-type]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_formats_are_found_by_name_and_suffix() -> None:
    found = {name: renderer.suffixes[0] for name, renderer in renderers().items()}
    assert (
        found.items()
        >= {"terminal": ".txt", "json": ".json", "markdown": ".md", "csv": ".csv"}.items()
    )


def test_json_is_the_contract(report: Report) -> None:
    text = render(report, "json")
    document = msgspec.json.decode(text)
    assert text.endswith("}\n")
    assert '\n  "schema": "mmprof.analysis/1"' in text
    assert document["devices"][0]["window_ns"] == 62_000
    assert [finding["code"] for finding in document["findings"]] == ["MM101", "MM114"]


@pytest.mark.parametrize("text", [*HOSTILE, "\udc80"], ids=lambda text: ascii(text[:12]))
def test_json_holds_any_name(hostile: Callable[[str], Report], text: str) -> None:
    name = text.encode("utf-8", "replace").decode()
    document = msgspec.json.decode(render(hostile(name), "json"))
    assert document["devices"][0]["name"] == name


def test_csv_is_exactly_this(report: Report) -> None:
    assert render(report, "csv") == (
        "rank,device,class,time_ns,sum_ns,count\n"
        "0,0,linear,40000,40000,1\n"
        "0,0,activation,10000,10000,1\n"
        "0,0,memcpy,2000,2000,1\n"
    )


def test_csv_has_all_rows_of_all_ranks(ranks: Report) -> None:
    assert len(rows(render(ranks, "csv", by="class", top=1))) == 1 + 12 * 3


def test_an_unknown_table_is_an_error(report: Report) -> None:
    for name in ("csv", "markdown", "terminal"):
        with pytest.raises(MmprofError):
            render(report, name, by="nonsense")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_csv_keeps_its_columns_and_runs_no_formula(
    hostile: Callable[[str], Report], text: str
) -> None:
    for table in tables():
        if not table.by:
            continue
        header, *found = rows(render(hostile(text), "csv", by=table.by))
        assert all(len(row) == len(header) for row in found)
        assert not [cell for row in found for cell in row if re.match(r"[=+@\t\r]|-\D", cell)]


def test_markdown_of_one_table_is_exactly_this(report: Report) -> None:
    assert render(report, "markdown", by="cause", top=2) == (
        "#### Idle time by cause\n\n"
        "| cause | time | gaps | longest | share |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| `queue` | 4.00 us | 1 | 4.00 us | 6.5 % |\n"
        "| `dispatch` | 2.00 us | 1 | 2.00 us | 3.2 % |\n\n"
        "2 more rows (--top)\n"
    )


def test_markdown_says_first_what_to_do(report: Report) -> None:
    text = render(report, "markdown")
    assert text.startswith("**NVIDIA H100 80GB HBM3: busy 83.9 % of 62.0 us;")
    assert "| medium | MM101 | GPU idle 8.00 us" in text
    assert "| `aten::mm` | `linear` |" in text
    assert "- MM-N006: 2 activities overlap" in text


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_markdown_is_inert_and_its_tables_are_whole(
    hostile: Callable[[str], Report], text: str
) -> None:
    drawn = render(hostile(text), "markdown")
    assert set(re.findall(r"<[^<>]*>", drawn)) <= OUR_TAGS
    assert "](" not in drawn
    assert all(line.isprintable() for line in drawn.split("\n"))
    for block in re.findall(r"(?:^\|.*\n)+", drawn, re.MULTILINE):
        bars = {line.count("|") for line in block.splitlines()}
        assert len(bars) == 1
    assert len(drawn) < 60_000


def test_markdown_of_many_ranks_lists_them_and_details_the_worst(ranks: Report) -> None:
    text = render(ranks, "markdown")
    assert "(rank 7, device 0)" in text
    assert len(re.findall(r"^\| \d+ \| 0 \| `NVIDIA", text, re.MULTILINE)) == 12
