"""Metrics of traces whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from mmprof.analyzers.analyze import Options
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.measure import measure
from mmprof.analyzers.gate.metrics import CATALOG, DeviceMetrics
from tests.gate.conftest import WriteLoop


def only(*paths: Path) -> DeviceMetrics:
    (device,) = measure([str(path) for path in paths], Options()).devices
    return device


def test_a_step_owns_the_gap_before_its_first_activity(write_loop: WriteLoop) -> None:
    """The kernels run from 60 to 90 us, 130 to 190 and 250 to 290: gaps of 40 and 60 us before the later two."""
    device = only(write_loop("t.json", (30, 60, 40)))

    assert (device.step, device.steps) == ("step", [3])
    assert device.samples("step_time") == [[30_000, 100_000, 100_000]]
    assert device.samples("busy_time") == [[30_000, 60_000, 40_000]]
    assert device.samples("idle_time") == [[0, 40_000, 60_000]]
    assert device.metrics["step_time"].value == 100_000
    assert device.metrics["window_time"].value == 230_000


def test_steps_sum_to_the_window_and_causes_to_idle(write_loop: WriteLoop) -> None:
    device = only(write_loop("t.json", (30, 60, 40)))

    (steps,), (idle,) = device.samples("step_time"), device.samples("idle_time")
    causes = [
        device.samples(name)[0]
        for name in device.metrics
        if name.startswith("cause.") and name.endswith(".time")
    ]
    assert sum(steps) == device.metrics["window_time"].value
    assert [sum(parts) for parts in zip(*causes, strict=True)] == idle


def test_classes_and_shares(write_loop: WriteLoop) -> None:
    device = only(write_loop("t.json", (30, 60, 40)))

    assert device.metrics["class.linear.time"].value == 40_000
    assert device.metrics["class.linear.share"].value == 1.0
    assert device.metrics["class.attention.time"].value == 0
    assert device.samples("class.attention.time") == [[0, 0, 0]]
    assert device.metrics["idle_share"].value == pytest.approx(100 / 230)
    assert device.samples("idle_share") == [[0, 0.4, 0.6]]
    assert device.metrics["activities"].value == device.metrics["launches"].value == 1


def test_without_steps_the_window_is_the_step(tmp_path: Path) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 5_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(10_000, 30_000))
    device = only(t.write(tmp_path / "t.json"))

    assert (device.step, device.steps) == ("window", [1])
    assert device.metrics["step_time"].value == device.metrics["window_time"].value == 20_000
    assert "peak_memory" not in device.metrics


def test_phases_and_memory(tmp_path: Path) -> None:
    t = TraceBuilder()
    for number, start in enumerate((0, 100_000, 200_000)):
        with (
            t.annotation(f"decode[{number}]", start, start + 90_000),
            t.op("aten::mm", start, start + 5_000),
        ):
            t.launch(GEMM, at=start + 1_000, call_ns=1_000, kernel=(start + 20_000, start + 50_000))
    address = t.allocate(4_096, at=3_000)
    t.allocate(1_024, at=4_000)
    t.free(address, at=5_000)
    device = only(t.write(tmp_path / "t.json"))

    assert device.step == "decode"
    assert device.samples("phase.decode.time") == [[30_000, 100_000, 100_000]]
    assert device.metrics["peak_memory"].value == 5_120


def test_traces_of_one_rank_are_runs(write_loop: WriteLoop) -> None:
    """Medians of 40, 50 and 60 us: the median of the runs is 50."""
    runs = [write_loop(f"{us}.json", (us, us, us)) for us in (40, 60, 50)]
    metric = only(*runs).metrics["busy_time"]

    assert (metric.value, metric.runs) == (50_000, [40_000, 60_000, 50_000])
    assert metric.samples == [[40_000] * 3, [60_000] * 3, [50_000] * 3]


def test_traces_of_different_ranks_stay_apart(write_loop: WriteLoop) -> None:
    paths = [str(write_loop(f"rank{rank}.json", (40, 41), rank=rank)) for rank in (0, 1)]

    devices = measure(paths, Options()).devices

    assert [(d.rank, d.metrics["activities"].runs) for d in devices] == [(0, []), (1, [])]


def test_traces_of_one_rank_and_other_work_are_refused(write_loop: WriteLoop) -> None:
    paths = [str(write_loop("a.json", (40, 41))), str(write_loop("b.json", (40, 41, 42)))]

    with pytest.raises(MmprofError, match="not runs of the same work") as caught:
        measure(paths, Options())

    assert (caught.value.code, caught.value.found) == (
        "MM-E082",
        "rank 0, device 0: number of steps: 2 before, 3 now",
    )


def test_an_input_that_cannot_be_read_is_not_left_out(
    write_loop: WriteLoop, tmp_path: Path
) -> None:
    with pytest.raises(MmprofError):
        measure([str(write_loop("a.json")), str(tmp_path / "absent.json")], Options())


def test_the_catalog_names_what_there_is(write_loop: WriteLoop) -> None:
    metrics = only(write_loop("t.json")).metrics
    plain = [name for name in CATALOG if not {"NAME", "SEVERITY"} & {*name.split(".")}]

    assert [name for name in plain if name not in metrics] == ["peak_memory"]
    assert {n: metrics[n].unit for n in plain if n in metrics} == {
        n: CATALOG[n][0] for n in plain if n in metrics
    }


def test_what_no_step_had_is_zero_in_each(tmp_path: Path) -> None:
    """One kernel is the whole window: no idle time, and a share of it all the same."""
    t = TraceBuilder()
    t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(3_000, 9_000))

    device = only(t.write(tmp_path / "t.json"))

    assert device.metrics["idle_time"].value == 0
    assert device.samples("idle_time") == device.samples("idle_share") == [[0.0]]
    assert device.samples("class.attention.share") == [[0.0]]


def test_a_recording_counts_once(write_loop: WriteLoop) -> None:
    """Copies of one recording would look like runs that never differ."""
    same = [str(write_loop(name)) for name in ("a.json", "b.json")]

    with pytest.raises(MmprofError, match="are one recording") as caught:
        measure(same, Options())

    assert caught.value.code == "MM-E082"
