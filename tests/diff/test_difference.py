"""Every level of a diff has the rows that were worked out by hand, and they sum to the total."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared import GEMM, assert_sums_to_total, compared, deltas, levels, product, side, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.builder import TraceBuilder
from mmprof.analyzers.analyze import Options
from mmprof.analyzers.diff import samples
from mmprof.analyzers.diff.difference import difference
from mmprof.analyzers.diff.result import Row
from mmprof.analyzers.diff.samples import apportion
from mmprof.analyzers.diff.sides import read_side
from mmprof.analyzers.diff.source import Source
from mmprof.analyzers.errors import MmprofError
from tests.conftest import ROOT
from tests.core.random_traces import Event, traces

MATMUL = "aten::mm [[64,64],[64,64]]"


@pytest.fixture
def two_devices(tmp_path: Path) -> Path:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 5_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 13_000))
    with t.device(1), t.op("aten::mm", 5_000, 20_000):
        t.launch(GEMM, at=6_000, call_ns=1_000, kernel=(10_000, 15_000))
        t.launch(GEMM, at=8_000, call_ns=1_000, kernel=(25_000, 30_000))
    return t.write(tmp_path / "two.json")


def generation(path: Path, name: str, first: int) -> Path:
    """50 us of prefill, 50 us later a step of 5 us, 15 us later one of 10 us."""
    t = TraceBuilder()
    parts = [(0, "prefill", 50_000), (100_000, f"{name}[{first}]", 5_000)]
    for at, phase, ns in [*parts, (120_000, f"{name}[{first + 1}]", 10_000)]:
        with t.annotation(f"mmprof/phase:{phase}", at, at + 19_000):
            t.launch(GEMM, at=at + 1_000, call_ns=500, kernel=(at + 2_000, at + 2_000 + ns))
    return t.write(path)


def row(rows: list[Row], key: str) -> Row:
    return next(r for r in rows if r.key == key)


def test_each_level_says_what_changed(tmp_path: Path) -> None:
    before = product(tmp_path / "a.json")
    after = product(tmp_path / "b.json", ns=9_000, wait_ns=2_000)
    found = compared(before, after)
    assert (found.total.before_ns, found.total.after_ns, found.unit) == (13_000, 19_000, "window")
    assert {name: deltas(rows) for name, rows in levels(found).items()} == {
        "class_": {"linear": 4_000, "idle": 2_000},
        "cause": {"busy": 4_000, "python": 2_000},
        "phase": {"other": 6_000},
        "step": {"other": 6_000},
        "module": {"unattributed": 4_000, "idle": 2_000},
        "op": {MATMUL: 4_000, "idle": 2_000},
        "kernel": {GEMM: 4_000, "idle": 2_000},
    }
    assert_sums_to_total(found)


def test_one_window_a_side_is_not_judged_and_says_why(tmp_path: Path) -> None:
    found = compared(product(tmp_path / "a.json"), product(tmp_path / "b.json", ns=9_000))
    assert found.total.verdict == "undecided"
    assert "one window on each side" in found.total.reason
    assert found.total.times_slower == pytest.approx(17 / 13)
    assert found.total.times_faster is None
    assert found.total.interval_ns is None
    assert all(r.significant is None for r in found.levels.op)


def test_a_trace_against_itself_did_not_change(tmp_path: Path) -> None:
    trace = product(tmp_path / "a.json")
    found = compared(trace, trace)
    assert (found.total.verdict, found.total.delta_ns) == ("no change", 0)
    assert found.comparable.ok


def test_a_row_that_one_side_lacks_appears_or_disappears(tmp_path: Path) -> None:
    wide = [[64, 64], [64, 128]]
    found = compared(
        product(tmp_path / "a.json", module="Linear_0"),
        product(tmp_path / "b.json", module="Linear_0", dims=wide),
        anyway=True,
    )
    gone, new = row(found.levels.op, MATMUL), row(found.levels.op, "aten::mm [[64,64],[64,128]]")
    assert (gone.status, gone.delta_ns, gone.before_count, gone.after_count) == (
        "disappeared",
        -5_000,
        1,
        0,
    )
    assert (new.status, new.delta_ns) == ("appeared", 5_000)


def test_the_shape_of_a_result_makes_no_other_product(tmp_path: Path) -> None:
    """Compiled code says where a product is written to; it is the same product."""
    written = product(tmp_path / "b.json", dims=[[64, 64], [64, 64], [64, 64]], ns=6_000)
    found = compared(product(tmp_path / "a.json"), written)
    assert deltas(found.levels.op) == {MATMUL: 1_000}


def test_steps_are_samples_and_their_number_does_not_matter(tmp_path: Path) -> None:
    # a step takes 20 + 10 + 50 us, without the 19 us before the first kernel of the first
    before = steps(tmp_path / "a.json", [50_000 + i for i in range(8)])
    after = steps(tmp_path / "b.json", [40_000 + i for i in range(10)])
    found = compared(before, after)
    assert (found.unit, found.before.samples, found.after.samples) == ("step", 7, 9)
    assert found.total.before_ns == 77_629  # (8 * 80,000 + 28 - 19,000) / 8 = 77,628.5
    assert found.total.verdict == "faster"
    assert found.total.interval_ns is not None
    assert -10_010 <= found.total.interval_ns[0] <= found.total.interval_ns[1] <= -9_990
    assert row(found.levels.kernel, GEMM).significant
    assert not row(found.levels.kernel, "add_kernel").significant
    assert [(r.what, r.handling) for r in found.comparable.reasons] == [("steps", "normalised")]
    assert_sums_to_total(found)


def test_a_step_has_its_part_of_the_mean(tmp_path: Path) -> None:
    # the steps take 61 and 80 us before; 51, 90 and 80 us after
    before = steps(tmp_path / "a.json", [50_000, 50_000])
    found = compared(before, steps(tmp_path / "b.json", [40_000, 60_000, 50_000]))
    rows = {r.key: (r.before_ns, r.after_ns, r.status) for r in found.levels.step}
    assert rows == {
        "step[0]": (30_500, 17_000, "both"),
        "step[1]": (40_000, 30_000, "both"),
        "step[2]": (0, 26_667, "appeared"),
    }
    assert (found.total.before_ns, found.total.after_ns) == (70_500, 73_667)
    assert {r.significant for r in found.levels.step} == {None}  # the steps are the samples


@pytest.mark.parametrize("name", ["decode", "{}"])
def test_instances_of_a_phase_are_steps_in_their_order(tmp_path: Path, name: str) -> None:
    """A gap is part of the step that it delays; what is in no step stands by its phase."""
    found = compared(
        generation(tmp_path / "a.json", name, 0), generation(tmp_path / "b.json", name, 3)
    )
    rows = {r.key: (r.before_ns, r.after_ns) for r in found.levels.step}
    assert rows == {
        "prefill": (50_000, 50_000),
        f"{name}[0]": (55_000, 55_000),
        f"{name}[1]": (25_000, 25_000),
    }


def test_slower_in_the_median_and_faster_in_the_mean_is_undecided(tmp_path: Path) -> None:
    before = steps(tmp_path / "a.json", [50_000] * 8 + [500_000])
    after = steps(tmp_path / "b.json", [60_000 + i for i in range(9)])
    found = compared(before, after)
    assert found.total.delta_ns < 0
    assert found.total.verdict == "undecided"
    assert "single steps decide" in found.total.reason


def test_recordings_of_the_same_work_are_samples(tmp_path: Path) -> None:
    before = side(*(product(tmp_path / f"a{i}.json", ns=5_000 + i) for i in range(5)))
    after = side(*(product(tmp_path / f"b{i}.json", ns=8_000 + i) for i in range(5)))
    found = difference(before, after)
    assert (found.unit, found.samples, found.before.samples) == ("trace", "trace", 5)
    assert (found.total.before_ns, found.total.after_ns) == (13_002, 16_002)
    assert found.total.verdict == "slower"
    assert row(found.levels.step, "other").significant
    assert_sums_to_total(found)


def test_a_mean_of_several_devices(two_devices: Path, tmp_path: Path) -> None:
    """Device 0 works 10 us of 10, device 1 10 us of 20: the mean device takes 15 us, 5 of them idle."""
    found = compared(two_devices, two_devices)
    assert found.total.before_ns == 15_000
    assert row(found.levels.class_, "idle").before_ns == 5_000


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20), st.integers(1, 50))
def test_shares_sum_to_the_share_of_the_sum(times: list[int], parts: int) -> None:
    shares = apportion(times, parts)
    assert sum(shares) == (2 * sum(times) + parts) // (2 * parts)
    assert all(0 <= share - time // parts <= 1 for share, time in zip(shares, times, strict=True))


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(before=traces(), after=traces())
def test_rows_of_any_two_traces_sum_to_the_total(
    tmp_path_factory: pytest.TempPathFactory, before: list[Event], after: list[Event]
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    found = compared(
        *(_written(folder / f"{i}.json", e) for i, e in enumerate((before, after))), anyway=True
    )
    assert_sums_to_total(found)


def _written(path: Path, events: list[Event]) -> Path:
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def test_rows_that_do_not_add_up_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = steps(tmp_path / "a.json", [50_000, 50_001, 50_001])
    monkeypatch.setattr(samples, "apportion", lambda times, parts: [t // parts for t in times])
    with pytest.raises(MmprofError) as raised:
        compared(before, before)
    assert raised.value.code == "MM-E090"


def test_the_demo_against_itself_in_a_window() -> None:
    demo = ROOT / "fixtures" / "llama-decode-h100-synthetic.json.gz"
    decode = read_side(Source((str(demo),)), Options(window="decode"))
    found = difference(decode, decode, window="decode")
    assert found.unit == "step"
    assert found.total.verdict == "no change"
    assert_sums_to_total(found)
