"""Microsecond text becomes nanoseconds digit by digit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mmprof.analyzers.load.times import MAX_NS, looks_unpadded, parse_column, parse_one

WHOLE = st.integers(-(10**15), 10**15)
THREE = st.integers(0, 999).map("{:03}".format)
SHORT = st.integers(0, 999).map(lambda n: f"{n:03}".rstrip("0") or "0")


def nanoseconds(text: str) -> int:
    return int(Decimal(text) * 1000)


@pytest.mark.parametrize("decimals", [THREE, SHORT, st.just(None)])
@given(data=st.data())
def test_a_column_is_exact(decimals: st.SearchStrategy[str | None], data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(WHOLE, decimals), min_size=1))
    texts = [str(whole) if part is None else f"{whole}.{part}" for whole, part in pairs]
    column = parse_column([Raw(text.encode()) for text in texts])
    assert column is not None
    assert list(column) == [nanoseconds(text) for text in texts]
    assert list(column) == [parse_one(text.encode()) for text in texts]


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 999)), min_size=1))
def test_a_column_without_leading_zeros_is_exact(parts: list[tuple[int, int]]) -> None:
    column = parse_column([Raw(f"{us}.{ns}".encode()) for us, ns in parts], unpadded=True)
    assert column is not None
    assert list(column) == [1000 * us + ns for us, ns in parts]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1711500000000001.003", 1711500000000001003),
        ("-0.5", -500),
        ("-0.001", -1),
        ("0.0004", 0),
        ("0.0005", 0),
        ("0.0015", 2),
        ("1.7763568394002505e-15", 0),
        ("1e3", 1_000_000),
        ('"5.25"', 5_250),
        ("1e999999", MAX_NS),
        ("-1e25", -MAX_NS),
        ("1e-999999", 0),
        ("0e999999", 0),
    ],
)
def test_one_number_in_any_form(text: str, ns: int) -> None:
    assert parse_one(text.encode()) == ns


@pytest.mark.parametrize(
    "text", ["", "null", "NaN", "inf", '"inf"', "[1]", "1_000", "0x10", "1.2.3", "true", "٣", '"a"']
)
def test_what_is_no_number(text: str) -> None:
    assert parse_one(text.encode()) is None


@pytest.mark.parametrize(
    "texts", [[b"1", b""], [b"1.0005"], [b"1e3"], [b"9999999999999999.999"], [b'"5"']]
)
def test_a_column_of_another_form_is_left_to_the_single_reader(texts: list[bytes]) -> None:
    assert parse_column([Raw(text) for text in texts]) is None


def test_a_number_of_a_million_digits_is_read_in_no_time() -> None:
    assert parse_one(b"1" * 1_000_000) == MAX_NS
    assert parse_one(b"1." + b"5" * 1_000_000) == 1556
    assert parse_one(b"1" * 1_000_000 + b"x") is None


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["1711500000000001.7", "1711500000000002.123"], True),
        (["1711500000000001.70", "1711500000000002.0"], True),
        (
            ["1711500000000001.7", "1711500000000002.05"],
            False,
        ),  # a leading zero: this exporter pads
        (["1711500000000001.007", "1711500000000002.700"], False),
        (
            ["1711500000000001.5", "1711500000000002.25", "1711500000000003.0"],
            False,
        ),  # a float64 in quarters
        (
            ["171150000001.7", "171150000002.12"],
            False,
        ),  # relative times: never without leading zeros
        (["1711500000000001", "1711500000000002"], False),
    ],
)
def test_which_exporter_dropped_leading_zeros(times: list[str], expected: bool) -> None:
    text = ",".join(f'{{"ph": "X", "ts": {time}, "dur": 5.7}}' for time in times)
    assert looks_unpadded(text.encode()) is expected
