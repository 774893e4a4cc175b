"""Text of a trace made safe: what is invisible becomes visible, what is active becomes inert."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable

import pytest
from rich.text import Text

from mmprof.cli.renderers import safe

POW = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::pow_impl<c10::BFloat16, "
    "c10::BFloat16>(at::TensorIteratorBase&, c10::BFloat16)::{lambda(c10::BFloat16)#1}, std::array<char*, 2ul> >"
    "(int, at::native::(anonymous namespace)::pow_impl<c10::BFloat16>(at::TensorIteratorBase&), std::array<char*, 2ul>)"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("aten::mm", "aten::mm"),
        ("größe 矩阵", "größe 矩阵"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\udc80", r"\udc80"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_everything_invisible_is_written_out(text: str, shown: str) -> None:
    assert safe.printable(text) == shown


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("aten::mm", 8, "aten::mm"),
        ("void f(int, g<h>)::k(float)", 26, "f(int, g<h>)::k"),
        ("kernel<a<b<c>>>", 14, "kernel<a<…>>"),
        ("ns::kernel<ns::very_long_argument>", 28, "kernel<very_long_argument>"),
        ("kernel<very_long_argument, and_another>", 24, "kernel<very_long_argume…"),
        ("a_kernel_of_a_long_name<very_long_argument>", 30, "a_kernel_of_a_long_name<…>"),
        ("nvjet_tst_128x64_64x8_1x2_h_bz_coopA_TNN", 20, "nvjet_tst_128…pA_TNN"),
        ("unclosed<bracket<again", 14, "unclosed<…"),
        ("矩阵矩阵矩阵", 7, "矩阵…阵"),
        ("abc", 2, "ab"),
        ("abc", 0, ""),
    ],
)
def test_names_are_shortened_by_what_tells_least(name: str, width: int, expected: str) -> None:
    shortened = safe.shorten(name, width)
    assert shortened == expected
    assert safe.columns_of(shortened) <= width


def test_the_functor_of_an_elementwise_kernel_survives() -> None:
    assert safe.shorten(POW, 60).startswith("vectorized_elementwise_kernel<4, pow_impl<…>")


@pytest.mark.parametrize("width", range(0, 140, 3))
def test_shortened_text_never_exceeds_its_width(width: int) -> None:
    for text in (POW, "x" * 5000, "矩" * 300, "<" * 300, ">" * 300, "a<b" * 99):
        assert safe.columns_of(safe.shorten(text, width)) <= width
        assert safe.columns_of(safe.shorten(text, width, ellipsis="..")) <= width


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("aten::mm", "`aten::mm`"),
        ("", ""),
        ("a|b", "<code>a&#124;b</code>"),
        ("a`b", "<code>a&#96;b</code>"),
        ("k<int>", "<code>k&lt;int&gt;</code>"),
        ("<script>x</script>", "<code>&lt;script&gt;x&lt;/script&gt;</code>"),
        ("a\\|b", "<code>a&#92;&#124;b</code>"),
        ("a\nb", r"<code>a&#92;nb</code>"),
        ("&lt;", "<code>&amp;lt;</code>"),
        ("@team", "<code>&#64;team</code>"),
    ],
)
def test_markdown_cells_hold_code(text: str, cell: str) -> None:
    assert safe.markdown_cell(text) == cell


def test_running_markdown_text_has_no_markup_and_no_mention() -> None:
    text = safe.markdown_text("*a* _b_ [c](http://d) @e <f> www.g.org #1")
    assert not set("*_[]") & set(text)
    assert "http&#58;//d" in text
    assert "www&#46;g.org" in text
    assert "&#64;<!-- -->e" in text
    assert "&lt;f&gt;" in text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "=cmd|' /C calc'!A0"]
)
def test_formulas_are_defused(text: str) -> None:
    (row,) = csv.reader(io.StringIO(safe.csv_cell(text)))
    assert len(row) == 1
    assert row[0].startswith("'")


@pytest.mark.parametrize("text", ['say "hi"', "a,b", "a;b", "plain", "a=b", "it's"])
def test_other_cells_come_back_as_they_were(text: str) -> None:
    assert list(csv.reader(io.StringIO(safe.csv_cell(text)))) == [[text]]


@pytest.mark.parametrize(
    "text",
    [
        "[bold]x[/bold]",
        "[link=http://e]x[/link]",
        "[/]",
        "a\\",
        "\\[red]",
        ":smile:",
        "[@click=f]x",
    ],
)
def test_rich_shows_markup_as_it_was_written(text: str) -> None:
    shown = Text.from_markup(f"[green]{safe.markup(text)}[/green]", emoji=False)
    assert shown.plain == text


@pytest.mark.parametrize(
    "unit", ["a", "\x1b[31m", "é\x1b", "<", "k<a>", "()", "矩", "`|", "[bold]", "=,", "a::"]
)
@pytest.mark.parametrize(
    "make_safe",
    [
        safe.printable,
        safe.markdown_cell,
        safe.markdown_text,
        safe.csv_cell,
        safe.markup,
        lambda t: safe.label(t, 80),
    ],
)
def test_a_megabyte_of_anything_takes_no_time(make_safe: Callable[[str], str], unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    started = time.process_time()
    shown = make_safe(text)
    assert time.process_time() - started < 0.050
    assert shown.isprintable()
