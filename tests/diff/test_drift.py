"""What all kernels move by alike between two recordings is no change of any one; and which changes to believe first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from compared import compared

from fixtures.builder import TraceBuilder
from mmprof.analyzers.diff.certainty import surest
from mmprof.analyzers.diff.drift import LEAST_ROWS, MOST_DRIFT, beyond_drift, shared_move
from mmprof.analyzers.diff.result import Difference, Row
from mmprof.analyzers.diff.significance import Judged, Series
from mmprof.cli.renderers.difference.content import facts

KERNELS = 10
STEPS = 12
KEY = ("kernel", "a")


def moved(share: float) -> Series:
    return Series((1_000, 1_000, 1_000), (round(1_000 * (1 + share)),) * 3)


def verdict(*, delta_ns: int, interval_ns: tuple[int, int], move: float) -> bool | None:
    """Of a row that took 1,000 ns and was called changed."""
    judged = Judged(delta_ns, *interval_ns, p=0.001, significant=True, detectable_ns=1)
    return beyond_drift({KEY: judged}, {KEY: moved(0)}, move)[KEY].significant


@pytest.mark.parametrize(
    ("shares", "move"),
    [
        ([0.01] * LEAST_ROWS, 0.01),
        ([0.01] * LEAST_ROWS + [0.5], 0.01),
        ([-0.3] * LEAST_ROWS, -MOST_DRIFT),
        ([0.01] * (LEAST_ROWS - 1), 0.0),
    ],
)
def test_the_median_row_says_what_all_share(shares: list[float], move: float) -> None:
    assert shared_move(map(moved, shares)) == pytest.approx(move)


def test_rows_without_time_on_a_side_share_nothing() -> None:
    new, gone = Series((0, 0, 0), (5, 5, 5)), Series((5, 5, 5), (0, 0, 0))
    assert shared_move([new, gone] * LEAST_ROWS) == 0


@pytest.mark.parametrize(
    ("delta_ns", "interval_ns", "move", "significant"),
    [
        (50, (40, 60), 0.01, True),  # 10 ns of it are everybody's
        (12, (8, 16), 0.01, False),  # may be the 10 ns
        (7, (6, 8), 0.01, False),  # less than everybody's
        (-12, (-16, -8), 0.01, True),  # against the others
        (7, (6, 8), 0.0, True),
    ],
)
def test_a_row_changed_if_it_moved_further_than_all(
    delta_ns: int, interval_ns: tuple[int, int], move: float, significant: bool
) -> None:
    assert verdict(delta_ns=delta_ns, interval_ns=interval_ns, move=move) is significant


def test_what_is_new_is_not_drift() -> None:
    judged = Judged(5, 4, 6, p=0.001, significant=True, detectable_ns=1)
    assert beyond_drift({KEY: judged}, {KEY: Series((0, 0), (5, 5))}, 0.02)[KEY] == judged


# --- whole traces: ten kernels of 10 us to 100 us, a thousandth of noise ----------------------------------------


def trace(path: Path, factors: Sequence[float]) -> Path:
    t, at = TraceBuilder(), 0
    for step in range(STEPS):
        start = at
        for kernel, factor in enumerate(factors):
            ns = round(10_000 * (kernel + 1) * factor * (1 + (step * 7 + kernel) % 5 / 1_000))
            with t.op(f"toy::op{kernel}", at, at + 2_000, dims=[[8]], types=["float"]):
                t.launch(
                    f"k{kernel}", at=at + 500, call_ns=500, kernel=(at + 2_000, at + 2_000 + ns)
                )
            at += 2_000 + ns
        t.annotation(f"ProfilerStep#{step}", start, at)
    return t.write(path)


def changed(folder: Path, factors: Sequence[float]) -> Difference:
    before = trace(folder / "before.json", [1.0] * KERNELS)
    return compared(before, trace(folder / "after.json", factors))


def called(found: Difference) -> set[str]:
    return {row.key for row in found.levels.kernel if row.significant}


def test_all_kernels_one_percent_slower_are_not_judged(tmp_path: Path) -> None:
    found = changed(tmp_path, [1.01] * KERNELS)
    assert called(found) == set()
    assert found.drift == pytest.approx(0.01, abs=1e-4)
    assert found.total.verdict == "undecided"
    assert found.total.reason.startswith("all kernels moved by about +1.0 % alike")
    assert not [line for line in facts(found) if line.startswith("surest")]


def test_all_kernels_a_tenth_slower_are(tmp_path: Path) -> None:
    found = changed(tmp_path, [1.1] * KERNELS)
    assert called(found) >= {f"k{kernel}" for kernel in range(KERNELS)}
    assert found.drift == MOST_DRIFT
    assert found.total.verdict == "slower"


def test_one_kernel_more_than_the_others_is_found_among_them(tmp_path: Path) -> None:
    found = changed(tmp_path, [1.01, 1.05, *[1.01] * (KERNELS - 2)])
    assert called(found) == {"k1"}
    assert found.surest["kernel"] == ["k1"]
    [line] = [line for line in facts(found) if line.startswith("surest")]
    assert line.startswith("surest: k1 +1.00 us (+5.0 %, p")


def test_idle_time_is_no_kernel_to_name(tmp_path: Path) -> None:
    found = changed(tmp_path, [1.1] * KERNELS)
    found.surest["kernel"].insert(0, "idle")
    [line] = [line for line in facts(found) if line.startswith("surest")]
    assert "idle" not in line
    assert line.count(";") == 2


# --- which to believe first ---------------------------------------------------------------------------------------


def row(key: str, delta_ns: int, p: float | None, *, significant: bool | None = True) -> Row:
    return Row(key, 0, delta_ns, delta_ns, significant=significant, p=p)


def test_the_least_likely_comes_first_then_the_largest() -> None:
    rows = [
        row("large", 900, 0.03),
        row("small", 5, 0.002),
        row("certain", 7, 1e-9),
        row("as certain and larger", -8, 1e-5),
        row("noise", 999, 0.4, significant=False),
        row("unjudged", 999, None, significant=None),
    ]
    assert surest(rows) == ["as certain and larger", "certain", "small", "large"]


def test_ten_at_most() -> None:
    assert len(surest(row(str(i), i, 0.01) for i in range(30))) == 10
