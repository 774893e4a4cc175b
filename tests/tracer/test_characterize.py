"""What recordings of a task say: shares and ranges by hand, a study of a toy family, and the recorded fixtures."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from fixtures.builder import TraceBuilder
from fixtures.record import FOLDER, MOST_BYTES, SHIPPED, Shipped, private_words
from mmprof.analyzers.analyze import analyze
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.load import load
from mmprof.analyzers.sidecar import (
    Ceiling,
    DeviceFacts,
    HostFacts,
    ProfilerOptions,
    Sidecar,
    Timing,
    WorkloadFacts,
    read_sidecar,
    sidecar_path,
)
from mmprof.tracer.characterize import AXES, Study, characterize
from mmprof.tracer.characterize_measure import (
    Recorded,
    latency_of,
    ridge_of,
    task_result,
)
from mmprof.tracer.characterize_results import Range
from mmprof.tracer.families import families
from mmprof.tracer.order import Limits, Wish
from mmprof.tracer.workload import Family, Request, Size, Task, Workload

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)

GEMM = "sm90_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x64x8_cublas"
CEILINGS = [
    Ceiling("copy", "fp32", 10e9, "bytes", "copied"),
    Ceiling("matmul", "fp32", 100e9, "flops", "multiplied"),
]


def sidecar(device: str = "cuda", **changes: object) -> Sidecar:
    arguments = {"task": "T-T", "batch": 2, "output_length": 3, "dtype": "float32"}
    made = Sidecar(
        trace="t.json",
        recorded_at="2026-11-23T00:00:00+00:00",
        workload=WorkloadFacts("toy", arguments, parameters=4, steps=2),
        device=DeviceFacts(device, "a device"),
        host=HostFacts("a processor", 2, 1, 0.5),
        versions={"torch": "2"},
        timing=Timing([0.5, 0.4, 0.6], 0.5, (0.4, 0.6), 0.75, "order", [0.9], 1.5, True),
        profiler=ProfilerOptions(),
        ceilings=CEILINGS,
    )
    return msgspec.structs.replace(made, **changes)


def recorded(folder: Path, idle_ns: int) -> Recorded:
    """Prefill is busy for 40 ns in a feed-forward layer, idle, then decode for 10 ns in attention and 10 ns in a head."""
    t = TraceBuilder()
    second = 50_000 + idle_ns
    shapes = {"dims": [[2, 8], [8, 4]], "types": ["float", "float"]}
    with (
        t.annotation("mmprof/phase:prefill", 0, 5_000),
        t.annotation("nn.Module: model.mlp.up_proj (Linear)", 100, 4_900),
        t.op("aten::mm", 200, 4_800, **shapes),
    ):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(10_000, 50_000))
    with t.annotation("mmprof/phase:decode[0]", 6_000, 9_000):
        for at, module in ((6_100, "model.self_attn.o_proj"), (7_600, "lm_head")):
            with (
                t.annotation(f"nn.Module: {module} (Linear)", at, at + 1_200),
                t.op("aten::mm", at + 100, at + 1_100, **shapes),
            ):
                t.launch(GEMM, at=at + 200, call_ns=500, kernel=(second, second + 10_000))
            second += 10_000
    return Recorded(t.write(folder / f"{idle_ns}.json"), sidecar())


def test_a_task_of_three_recordings(tmp_path: Path) -> None:
    # windows of 80, 100 and 120 us, of which 60 us are busy: the one of 100 us stands for all
    result = task_result([recorded(tmp_path, idle) for idle in (40_000, 60_000, 20_000)])

    assert result.idle_share == Range(0.4, 0.25, 0.5)
    assert [part.name for part in result.idle_causes] == ["queue"]
    by_name = {phase.phase: phase for phase in result.phases}
    assert by_name["prefill"].share == Range(0.4, 40 / 120, 0.5)
    assert by_name["prefill"].seconds == pytest.approx(0.4 * 0.5)
    assert by_name["decode"].share == Range(0.2, 20 / 120, 0.25)
    assert by_name["decode"].class_shares == {"linear": 1.0}
    assert by_name["other"].idle_share == Range(1.0, 1.0, 1.0)
    assert {part.name: part.share.value for part in result.linear} == pytest.approx(
        {"feed-forward": 40 / 60, "attention": 10 / 60, "output head": 10 / 60}
    )
    [linear] = result.classes
    assert (linear.name, linear.share) == ("linear", Range(1.0, 1.0, 1.0))
    # three products of [2, 8] and [8, 4]: 2*2*8*4 operations, (16 + 32 + 8) float32 each
    assert (linear.flops, linear.bytes) == (3 * 128, 3 * 224)
    assert linear.intensity == pytest.approx(128 / 224)
    assert linear.bound_shares == {"latency": 1.0}
    assert result.module_coverage.value == 1.0
    # the device table's H100: 66.9 TFLOP/s of fp32 and 3.35 TB/s
    assert ridge_of(result) == pytest.approx(66.9e12 / 3.35e12, rel=0.01)


def test_latency_and_throughput() -> None:
    latency = latency_of(sidecar())

    assert (latency.median_s, latency.low_s, latency.high_s, latency.runs) == (0.5, 0.4, 0.6, 3)
    assert (latency.requests_per_s, latency.tokens_per_s, latency.slowdown) == (4.0, 12.0, 3.0)


def test_what_is_not_defined_is_none(tmp_path: Path) -> None:
    cut = sidecar(
        workload=WorkloadFacts("toy"),
        timing=Timing([0.5], 0.5, (0.5, 0.5), 0.0, profiled_s=0.1, profiled_whole=False),
    )

    result = task_result([Recorded(recorded(tmp_path, 1_000).path, cut)])

    assert (result.latency.tokens_per_s, result.latency.slowdown) == (None, None)
    assert {phase.seconds for phase in result.phases} == {None}
    assert ridge_of(result) is None


def build(request: Request) -> Workload:
    import torch  # noqa: PLC0415

    from mmprof.tracer.phases import phase  # noqa: PLC0415

    if request.input_length > 8:
        raise ValueError("at most 8")
    layer = torch.nn.Linear(8, 8)
    inputs = torch.ones(request.batch * (request.input_length or 4), 8)

    def run() -> object:
        with phase("prefill"), torch.inference_mode():
            layer(inputs)
        with phase("decode", 0), torch.inference_mode():
            return layer(inputs[:1])

    return Workload("toy", {"": layer}, run, {"input_length": 4, "output_length": 2}, steps=1)


def broken(request: Request) -> Workload:
    raise ValueError("no weights")


TOY = Family(
    "toy",
    "A toy.",
    (Task("T-T", "text", ("prefill", "decode")),),
    (Size("tiny", 72, "nothing"),),
    build,
)
BROKEN = Family(
    "broken", "Fails.", (Task("T-T", "text", ()),), (Size("tiny", 1, "nothing"),), broken
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two families, of which one cannot be built, without measuring the machine."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    monkeypatch.setattr("mmprof.tracer.tracing.ceilings", lambda _: CEILINGS)
    return Study(
        [BROKEN, TOY],
        tmp_path,
        device="cpu",
        recordings=2,
        limits=Limits(warmups=0, repeats=2),
        axes=("length", "batch"),
    )


def test_a_study(study: Study, tmp_path: Path) -> None:
    found = characterize(study)

    [task] = found.tasks
    assert (task.label, task.recordings, task.latency.runs) == ("toy T-T", 2, 2)
    assert {phase.phase: phase.count for phase in task.phases if phase.count} == {
        "prefill": 1,
        "decode": 1,
    }
    assert sum(phase.share.value for phase in task.phases) == pytest.approx(1)
    assert found.host_is_device
    assert ridge_of(task) == 10
    assert task.roofline.source.startswith("measured where the trace was recorded")
    points = {sweep.axis: [point.value for point in sweep.points] for sweep in found.sweeps}
    assert points == {"length": [1, 2, 4, 8], "batch": [1, 2, 4, 8]}
    assert [skipped.what for skipped in found.skipped] == ["broken T-T", "toy T-T, length 16"]
    assert found.skipped[1].reason == "the workload failed: ValueError: at most 8"
    assert (tmp_path / "toy-T-T-tiny.1.json.gz").is_file()


def test_a_study_of_nothing_tells_the_first_reason(study: Study) -> None:
    with pytest.raises(MmprofError, match="no weights"):
        characterize(Study([BROKEN], study.folder, device="cpu"))


def test_an_interrupted_study_tells_what_is_done(study: Study) -> None:
    def stop(request: Request) -> Workload:
        raise KeyboardInterrupt

    later = Family("later", "Never ends.", TOY.tasks, TOY.sizes, stop)

    found = characterize(Study([TOY, later], study.folder, device="cpu", limits=study.limits))

    assert [task.family for task in found.tasks] == ["toy"]
    assert found.skipped[-1].reason == "interrupted"
    with pytest.raises(KeyboardInterrupt):
        characterize(Study([later], study.folder, device="cpu"))


def test_axes_vary_what_they_say() -> None:
    assert AXES["length"].vary(Wish(), 3) == Wish(input_length=3)
    assert AXES["output"].vary(Wish(), 3) == Wish(output_length=3)
    assert AXES["batch"].vary(Wish(), 3) == Wish(batch=3)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)
def test_a_recorded_fixture(shipped: Shipped) -> None:
    path = FOLDER / shipped.name
    known = read_sidecar(path)
    [device] = analyze([str(path)]).devices  # checks that every nanosecond is counted once

    assert known is not None
    assert (known.trace, known.error) == (path.name, None)
    [task] = [t for t in families()[shipped.family].tasks if t.name == shipped.task]
    assert {row.phase for row in device.value("phases")} - {"other"} == set(task.phases)
    assert device.value("module_coverage") >= 0.9
    times = {row.class_: row.time_ns for row in device.value("classes")}
    assert times["linear"] > 0
    assert times["attention"] > 0


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)
def test_a_recorded_fixture_is_small_and_tells_nothing_private(shipped: Shipped) -> None:
    path = FOLDER / shipped.name
    packed, told = path.read_bytes(), sidecar_path(path).read_bytes()

    assert len(packed) + len(told) <= MOST_BYTES
    text = gzip.decompress(packed)
    assert private_words(text + told) == []
    document = json.loads(text)
    assert (document["host_name"], document["traceName"]) == ("", path.name)


def activities(path: Path) -> Counter[str]:
    return Counter(load(str(path)).host["name"].cast(str).to_list())


@needs_torch
def test_recording_again_gives_the_same_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415

    [shipped] = [s for s in SHIPPED if s.family == "hstu"]
    known = read_sidecar(FOLDER / shipped.name)
    assert known is not None
    if known.versions["torch"] != torch.__version__:
        pytest.skip(f"recorded with torch {known.versions['torch']}")
    monkeypatch.setattr("mmprof.tracer.tracing.ceilings", lambda _: CEILINGS)

    again = shipped.record(tmp_path)

    assert activities(again) == activities(FOLDER / shipped.name)
