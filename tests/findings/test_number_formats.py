"""Numbers in sentences."""

from __future__ import annotations

import pytest

from mmprof.analyzers.units import format_bytes, format_count, format_ns, format_rate, format_share


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (4_000, "4.00 us"),
        (999_499, "999 us"),
        (999_500, "1.00 ms"),
        (12_345_678, "12.3 ms"),
        (511_000_000, "511 ms"),
        (12_920_244_000, "12.9 s"),
        (4_321_000_000_000, "4,321 s"),
    ],
)
def test_times_have_three_digits(ns: int, text: str) -> None:
    assert format_ns(ns) == text


def test_bytes_count_in_powers_of_two() -> None:
    assert [format_bytes(b) for b in (512, 1536, 3 * 2**30)] == ["512 B", "1.50 KiB", "3.00 GiB"]


def test_rates_are_decimal_as_on_data_sheets() -> None:
    assert [format_rate(r) for r in (512, 25e9, 3.35e12)] == ["512 B/s", "25.0 GB/s", "3.35 TB/s"]


def test_shares_never_hide_what_is_present() -> None:
    assert [format_share(p, 1_000) for p in (474, 0.2, 0, 1_000)] == [
        "47.4 %",
        "<0.1 %",
        "0.0 %",
        "100.0 %",
    ]
    assert format_share(1, 0) == "0.0 %"


def test_counts_may_have_a_noun() -> None:
    assert format_count(5_165) == "5,165"
    assert format_count(1, "gap") == "1 gap"
    assert format_count(2, "gap") == "2 gaps"
    assert format_count(0, "copy", "copies") == "0 copies"
