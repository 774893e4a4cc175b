"""What the sidecar adds to an analysis: measured peaks, the profiler's cost, notes; and that nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import GEMM
from fixtures.sidecars import CEILINGS, CPU, MEASURED_AT, TIMING, put_beside, sidecar
from mmprof.analyzers.analyses.bounds import Roofline
from mmprof.analyzers.analyses.overhead import Overhead
from mmprof.analyzers.analyze import DeviceReport, Options, Report, analyze
from mmprof.analyzers.devices import DeviceSpec
from mmprof.analyzers.sidecar import DeviceFacts, Failure, Sidecar, Timing, sidecar_path

ORDER = 4096


def product(t: TraceBuilder, rows: int, start: int, end: int) -> None:
    """[rows, 4096] x [4096, 4096] in fp32 on the host."""
    dims, types = [[rows, ORDER], [ORDER, ORDER]], ["float", "float"]
    t.op("aten::mm", start, end, dims=dims, types=types)


def on_cpu() -> TraceBuilder:
    """One row in 1 ms: 67 MB take 0.67 ms, 34 MFLOP 0.03 ms. 4,096 rows in 200 ms: 137 GFLOP take 137 ms, 201 MB 2 ms."""
    t = TraceBuilder("cpu")
    product(t, 1, 0, 1_000_000)
    product(t, ORDER, 1_000_000, 201_000_000)
    return t


def on_gpu(name: str = "") -> TraceBuilder:
    """One row in 1 ms on an H100, or on a device of another name."""
    t = TraceBuilder()
    if name:
        t.metadata(deviceProperties=[{"id": 0, "name": name}])
    with t.op("aten::mm", 0, 900, dims=[[1, ORDER], [ORDER, ORDER]], types=["float", "float"]):
        t.launch(GEMM, at=100, call_ns=100, kernel=(1_000, 1_000_000))
    return t


@pytest.fixture
def analyzed(tmp_path: Path) -> Callable[..., Report]:
    """The report on a built trace with a sidecar beside it."""

    def run(built: TraceBuilder, beside: Sidecar | None, **options: Any) -> Report:
        path = built.write(tmp_path / "t.json")
        if beside is not None:
            put_beside(path, beside)
        return analyze([str(path)], Options(**options))

    return run


def bounds_of(device: DeviceReport) -> dict[str, int]:
    return {row.bound: row.time_ns for row in device.value("bounds")}


def roofline_of(device: DeviceReport) -> Roofline:
    found: Roofline = device.value("roofline")
    return found


def codes(report: Report) -> list[str]:
    return [note.code for note in report.notes]


def test_a_cpu_has_bounds_where_it_was_measured(analyzed: Callable[..., Report]) -> None:
    device = analyzed(on_cpu(), sidecar(ceilings=CEILINGS)).devices[0]
    assert bounds_of(device) == {"memory": 1_000_000, "compute": 200_000_000}
    roofline = roofline_of(device)
    assert (roofline.peak_flops, roofline.bandwidth_bytes_per_s) == ({"fp32": 10**12}, 100 * 10**9)
    assert (roofline.device, roofline.source) == (
        "Some CPU",
        f"measured where the trace was recorded, {MEASURED_AT}, load average 0.5: fp32 matmul: squares; "
        "fp32 gemv: a vector",
    )
    assert roofline.measured_source == roofline.source


def test_without_a_measurement_its_bounds_are_unknown(analyzed: Callable[..., Report]) -> None:
    for beside in (None, sidecar()):
        device = analyzed(on_cpu(), beside).devices[0]
        assert bounds_of(device) == {"unknown": 201_000_000}
        assert (roofline_of(device).source, roofline_of(device).measured_source) == ("", "")


@pytest.mark.parametrize(
    "ceilings",
    [
        CEILINGS[:2],
        CEILINGS[2:],
        [msgspec.structs.replace(c, per_second=0.0) for c in CEILINGS],
        [msgspec.structs.replace(c, dtype="fp3") for c in CEILINGS],
    ],
    ids=["no product", "no bandwidth", "no rate", "no such type"],
)
def test_half_a_measurement_is_none(analyzed: Callable[..., Report], ceilings: Any) -> None:
    device = analyzed(on_cpu(), sidecar(ceilings=ceilings)).devices[0]
    assert set(bounds_of(device)) == {"unknown"}


def test_a_known_gpu_keeps_the_tables_peaks(analyzed: Callable[..., Report]) -> None:
    beside = sidecar(ceilings=CEILINGS, device=DeviceFacts("cuda", "NVIDIA H100 80GB HBM3"))
    roofline = roofline_of(analyzed(on_gpu(), beside).devices[0])
    assert roofline.bandwidth_bytes_per_s == 3_350_000_000_000
    assert roofline.measured_bandwidth_bytes_per_s == 100_000_000_000
    assert roofline.measured_flops == {"fp32": 10**12}
    assert "measured" in roofline.measured_source
    assert "measured" not in roofline.source


def test_an_unknown_gpu_has_the_measured_ones(analyzed: Callable[..., Report]) -> None:
    built = on_gpu("Some GPU")
    assert "MM-N019" in codes(analyzed(built, None))
    report = analyzed(built, sidecar(ceilings=CEILINGS, device=DeviceFacts("cuda", "Some GPU")))
    # 67 MB at 100 GB/s are 0.67 ms of 1 ms
    assert bounds_of(report.devices[0]) == {"memory": 999_000}
    assert "MM-N019" not in codes(report)


@pytest.mark.parametrize("measured", [CPU, DeviceFacts("cuda", "Another GPU")])
def test_measurements_of_another_device_say_nothing(
    analyzed: Callable[..., Report], measured: DeviceFacts
) -> None:
    report = analyzed(on_gpu("Some GPU"), sidecar(ceilings=CEILINGS, device=measured))
    assert bounds_of(report.devices[0]) == {"unknown": 999_000}


def test_measurements_of_a_gpu_are_not_the_hosts(analyzed: Callable[..., Report]) -> None:
    report = analyzed(on_cpu(), sidecar(ceilings=CEILINGS, device=DeviceFacts("cuda", "Some GPU")))
    assert set(bounds_of(report.devices[0])) == {"unknown"}


def test_given_peaks_come_first(analyzed: Callable[..., Report]) -> None:
    spec = DeviceSpec("mine", "", {"fp32": 10**15}, 10**15, "my own measurement")
    device = analyzed(on_cpu(), sidecar(ceilings=CEILINGS), spec=spec).devices[0]
    assert roofline_of(device).source == "my own measurement"


def test_the_profilers_cost(analyzed: Callable[..., Report]) -> None:
    found: Overhead = analyzed(on_cpu(), sidecar(timing=TIMING)).devices[0].value("overhead")
    assert (found.unprofiled_s, found.interval_s, found.profiled_s) == (
        0.041,
        (0.040, 0.043),
        0.082,
    )
    assert found.ratio == 2.0
    assert found.source == (
        "sidecar: median of 3 un-profiled runs, interval with 75.0% confidence by order statistics"
    )


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (None, Overhead()),
        (
            sidecar(timing=Timing(profiled_s=0.5)),
            Overhead(profiled_s=0.5, source="sidecar: no un-profiled runs"),
        ),
        (sidecar(timing=Timing(median_s=0.0)), Overhead(source="sidecar: no un-profiled runs")),
    ],
    ids=["no sidecar", "not timed", "no time"],
)
def test_an_unknown_cost_is_null(
    analyzed: Callable[..., Report], beside: Sidecar | None, expected: Overhead
) -> None:
    assert analyzed(on_cpu(), beside).devices[0].value("overhead") == expected


def test_a_part_of_a_run_is_not_compared_with_all_of_it(analyzed: Callable[..., Report]) -> None:
    timing = msgspec.structs.replace(TIMING, profiled_whole=False)
    found: Overhead = analyzed(on_cpu(), sidecar(timing=timing)).devices[0].value("overhead")
    assert (found.unprofiled_s, found.profiled_s, found.ratio) == (0.041, 0.082, None)
    assert found.source.endswith("recording ended before the run did")


def test_what_the_tracer_noted_is_noted(analyzed: Callable[..., Report]) -> None:
    beside = sidecar(notes=["3 of 6 runs {x}"], error=Failure("ValueError", "bad weights"))
    said = [n for n in analyzed(on_cpu(), beside).notes if n.code != "MM-N004"]
    assert [(n.code, n.message) for n in said] == [
        ("MM-N028", "the recorded run failed: ValueError: bad weights"),
        ("MM-N027", "the tracer says: 3 of 6 runs {x}"),
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"trace": 1}', b'{"a": ' + b"[" * 100_000],
    ids=["empty", "cut", "no text", "no object", "wrong type", "deep"],
)
def test_a_damaged_sidecar_is_a_note(tmp_path: Path, content: bytes) -> None:
    path = on_cpu().write(tmp_path / "t.json")
    without = analyze([str(path)])
    sidecar_path(path).write_bytes(content)
    damaged = analyze([str(path)])
    assert damaged.devices == without.devices
    assert codes(damaged) == [*codes(without), "MM-N026"]
    assert "t.json.mmprof.json" in damaged.notes[-1].message


def test_a_sidecar_of_another_schema_is_a_note(analyzed: Callable[..., Report]) -> None:
    report = analyzed(on_cpu(), sidecar(schema="mmprof.sidecar/2", timing=TIMING))
    assert "schema 'mmprof.sidecar/2'" in report.notes[-1].message
    assert report.devices[0].value("overhead") == Overhead()


def test_a_sidecar_changes_no_time(analyzed: Callable[..., Report]) -> None:
    plain = analyzed(on_cpu(), None).devices[0]
    beside = analyzed(on_cpu(), sidecar(ceilings=CEILINGS, timing=TIMING)).devices[0]
    assert plain.results.keys() == beside.results.keys()
    same = {name for name, result in plain.results.items() if result == beside.results[name]}
    assert plain.results.keys() - same == {"bounds", "operators", "overhead"}
    assert replace(plain, results={}, findings=()) == replace(beside, results={}, findings=())
