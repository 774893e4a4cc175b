"""Numbers for people."""

from __future__ import annotations

import pytest

from mmprof.cli.renderers import units


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0 ns"),
        (1, "1 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (12_345, "12.3 us"),
        (999_499, "999 us"),
        (999_500, "1.00 ms"),
        (9_996_000, "10.0 ms"),
        (1_080_000_000, "1.08 s"),
        (5_000_000_000_000, "5,000 s"),
        (-1_500_000, "-1.50 ms"),
    ],
)
def test_durations_have_three_significant_digits(ns: int, shown: str) -> None:
    assert units.duration(ns) == shown


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (0, "0.0 %"),
        (1e-9, "<0.1 %"),
        (0.00049, "<0.1 %"),
        (0.0005, "0.1 %"),
        (0.526, "52.6 %"),
        (0.9994, "99.9 %"),
        (0.9999, ">99.9 %"),
        (1, "100.0 %"),
        (-0.25, "-25.0 %"),
    ],
)
def test_what_is_present_is_never_nothing_and_what_is_missing_never_everything(
    part: float, shown: str
) -> None:
    assert units.share(part) == shown


def test_a_share_of_nothing_is_unknown() -> None:
    assert units.share_of(0, 0) == "-"
    assert units.share_of(1, 4) == "25.0 %"


def test_instants_are_exact() -> None:
    assert units.instant(921_450_012_125_219) == "921450012125.219 us"
    assert units.instant(-5) == "-0.005 us"


def test_other_quantities() -> None:
    assert units.bytes_(1_599_106_304) == "1.49 GiB"
    assert units.bytes_(1_023) == "1,023 B"
    assert units.flops(14_870_651_792) == "14.9 GFLOP"
    assert units.rate(3.35e12, "B") == "3.35 TB/s"
    assert units.count(1_355) == "1,355"
    assert units.factor(1.42) == "1.42x"
    assert units.factor(100.0) == "100x"
    assert units.number(0.0001234) == "1.23e-04"
