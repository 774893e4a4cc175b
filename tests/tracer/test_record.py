"""Recording a workload: the trace, its bounds, its sidecar, and what remains of a run that failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import mmprof  # noqa: E402
from mmprof.analyzers.errors import MmprofError  # noqa: E402
from mmprof.analyzers.sidecar import read_sidecar  # noqa: E402
from mmprof.tracer.order import Limits  # noqa: E402
from mmprof.tracer.record import Plan, record  # noqa: E402
from mmprof.tracer.recorder import options_for  # noqa: E402
from mmprof.tracer.timing import median_interval, summarized  # noqa: E402
from mmprof.tracer.trace_files import check_trace_path, named_by_rank, write_trace  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402
from tests.tracer.toys import DEVICE, annotations_in, events_in, generating  # noqa: E402

QUICK = Limits(warmups=0, repeats=0)


def plan(path: Path, limits: Limits = QUICK) -> Plan:
    return Plan(path, DEVICE, options_for(DEVICE), limits)


def phases_in(path: Path) -> list[str]:
    return [n.removeprefix("mmprof/phase:") for n in annotations_in(path) if "phase:" in n]


def test_a_recording_can_be_analyzed(tmp_path: Path) -> None:
    recording = record(generating(2), plan(tmp_path / "t.json.gz"))

    assert recording.trace is not None
    assert recording.trace.events == len(events_in(tmp_path / "t.json.gz"))
    report = mmprof.analyze(tmp_path / "t.json.gz")
    counts = {p.phase: p.count for p in report.devices[0].value("phases")}
    assert (counts["prefill"], counts["decode"]) == (1, 2)
    assert report.devices[0].value("module_coverage") == 1.0


def test_work_between_calls_is_the_only_models_also_where_recording_ends_early(
    tmp_path: Path,
) -> None:
    def choose(_: int) -> None:
        torch.ones(8).argmax()

    record(generating(3, on_step=choose), plan(tmp_path / "t.json", Limits(0, 0, steps=2)))

    assert annotations_in(tmp_path / "t.json")[:2] == [
        "nn.Module: Toy (Toy)",
        "mmprof/phase:prefill",
    ]
    assert mmprof.analyze(tmp_path / "t.json").devices[0].value("module_coverage") == 1.0


def sleeping(*durations_s: float) -> Workload:
    """Each run takes one of these times, with as many operators as runs were before it."""
    left = list(enumerate(durations_s))

    def run() -> None:
        number, duration_s = left.pop(0)
        time.sleep(duration_s)
        for _ in range(number):
            torch.ones(2).neg()

    return Workload("sleeping", {}, run)


def negations_in(path: Path) -> int:
    return sum(event["name"] == "aten::neg" for event in events_in(path))


def touching(*mebibytes: int) -> Workload:
    """Each run takes 0.1 s, and so much new memory; with as many operators as runs were before it."""
    left, held = list(enumerate(mebibytes)), []

    def run() -> None:
        number, size = left.pop(0)
        time.sleep(0.1)
        held.append(torch.ones(size << 18) if size else None)
        time.sleep(size / 1000)
        for _ in range(number):
            torch.ones(2).neg()

    return Workload("touching", {}, run)


def test_a_recording_that_new_pages_make_slow_is_made_again(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    again = replace(plan(tmp_path / "t.json", Limits(warmups=0, repeats=2)), again=True)
    record(touching(0, 0, 200, 0), again)  # 51,200 pages

    # the runs are numbered from 0: the second recording is the fourth run
    assert negations_in(tmp_path / "t.json") == 3
    sidecar = read_sidecar(tmp_path / "t.json")
    assert sidecar is not None
    assert sidecar.timing.profiled_s == pytest.approx(0.1, abs=0.09)
    assert [note for note in sidecar.notes if note.startswith("recorded 2 times (0.")]


def test_a_recording_that_is_slow_without_new_pages_is_made_once(tmp_path: Path) -> None:
    again = replace(plan(tmp_path / "t.json", Limits(warmups=0, repeats=2)), again=True)
    recording = record(sleeping(0.05, 0.05, 0.3), again)  # a fourth run would fail

    assert recording.error is None
    assert negations_in(tmp_path / "t.json") == 2
    assert recording.sidecar.notes == []


def test_a_failure_of_a_recording_is_not_hidden_by_one_before_it(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    again = replace(plan(tmp_path / "t.json", Limits(warmups=0, repeats=2)), again=True)
    recording = record(touching(0, 0, 200), again)  # there is no run for a second one

    assert isinstance(recording.error, IndexError)
    assert recording.sidecar.error is not None
    assert not [note for note in recording.sidecar.notes if note.startswith("recorded")]


def test_the_sidecar_says_what_was_run(tmp_path: Path) -> None:
    record(generating(1), plan(tmp_path / "t.json", Limits(warmups=2, repeats=3)), notes=["a note"])

    sidecar = read_sidecar(tmp_path / "t.json")
    assert sidecar is not None
    assert (sidecar.trace, sidecar.error, sidecar.notes) == ("t.json", None, ["a note"])
    # Toy: 4 x 8 + 8 in the first layer, 8 x 8 + 8 in the second
    assert (sidecar.workload.parameters, sidecar.workload.parameter_bytes) == (112, 448)
    assert sidecar.workload.steps == 1
    assert (len(sidecar.timing.warmup_s), len(sidecar.timing.runs_s)) == (2, 3)
    assert sidecar.timing.profiled_s is not None
    assert sidecar.profiler.activities == ("CPU",)
    assert sidecar.versions["torch"] == torch.__version__


def test_without_modules_there_are_only_phases(tmp_path: Path) -> None:
    options = options_for(DEVICE, modules=False)
    record(generating(1), replace(plan(tmp_path / "t.json"), options=options))

    assert annotations_in(tmp_path / "t.json") == ["mmprof/phase:prefill", "mmprof/phase:decode[0]"]


def test_stacks_and_memory_are_recorded_when_asked_for(tmp_path: Path) -> None:
    options = options_for(DEVICE, stacks=True, memory=True)
    record(generating(1), replace(plan(tmp_path / "t.json"), options=options))

    assert {"python_function", "cpu_op"} <= {e["cat"] for e in events_in(tmp_path / "t.json")}
    assert "[memory]" in (tmp_path / "t.json").read_text()


def test_recording_ends_before_a_step_and_the_run_goes_on(tmp_path: Path) -> None:
    seen: list[int] = []

    recording = record(
        generating(5, on_step=seen.append), plan(tmp_path / "t.json", Limits(0, 0, steps=2))
    )

    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]", "decode[1]"]
    assert seen == [0, 1, 2, 3, 4]
    assert not recording.sidecar.timing.profiled_whole
    assert recording.sidecar.notes == [
        "recording ended before decode step 2; the run went on without"
    ]


def test_steps_beyond_the_run_are_noted(tmp_path: Path) -> None:
    recording = record(generating(2), plan(tmp_path / "t.json", Limits(0, 0, steps=2)))

    assert recording.sidecar.timing.profiled_whole
    assert recording.sidecar.notes == [
        "--steps 2 has no effect: the run has no decode step 2",
    ]


def test_events_are_bounded_by_whole_steps(tmp_path: Path) -> None:
    record(generating(4), plan(tmp_path / "all.json"))
    events = events_in(tmp_path / "all.json")
    starts = [e["ts"] for e in events if e["name"].startswith("mmprof/phase:decode")]
    until_third = sum(e["ts"] < starts[2] for e in events)

    limits = Limits(0, 0, max_events=until_third + 5)
    recording = record(generating(4), plan(tmp_path / "t.json", limits))

    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]", "decode[1]"]
    assert "so 2 steps fit" in recording.sidecar.notes[0]


def test_one_step_is_recorded_where_not_even_that_fits(tmp_path: Path) -> None:
    recording = record(generating(4), plan(tmp_path / "t.json", Limits(0, 0, max_events=1)))

    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]"]
    assert recording.sidecar.notes[0].startswith("--max-events 1: the least, up to the end of")


def test_events_without_steps_cannot_be_bounded(tmp_path: Path) -> None:
    recording = record(generating(0), plan(tmp_path / "t.json", Limits(0, 0, max_events=1)))

    assert recording.sidecar.notes == [
        "--max-events 1 has no effect: the workload has no decode steps"
    ]


def raising(error: BaseException) -> Callable[[int], None]:
    def on_step(_: int) -> None:
        raise error

    return on_step


@pytest.mark.parametrize("warmups", [0, 1])
def test_a_failure_leaves_a_trace_up_to_it(tmp_path: Path, warmups: int) -> None:
    workload = generating(3, on_step=raising(ValueError("bad step")))

    recording = record(workload, plan(tmp_path / "t.json", Limits(warmups, 0)))

    assert isinstance(recording.error, ValueError)
    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]"]
    sidecar = read_sidecar(tmp_path / "t.json")
    assert sidecar is not None
    assert sidecar.error is not None
    assert (sidecar.error.type, sidecar.error.message) == ("ValueError", "bad step")


def test_an_exit_leaves_a_trace_up_to_it(tmp_path: Path) -> None:
    def leave(_: int) -> None:
        raise SystemExit(3)

    recording = record(generating(2, on_step=leave), plan(tmp_path / "t.json"))

    assert isinstance(recording.error, SystemExit)
    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]"]


def test_an_interruption_leaves_a_trace_up_to_it(tmp_path: Path) -> None:
    recording = record(
        generating(3, on_step=raising(KeyboardInterrupt())), plan(tmp_path / "t.json")
    )

    assert isinstance(recording.error, KeyboardInterrupt)
    assert phases_in(tmp_path / "t.json") == ["prefill", "decode[0]"]


def test_an_interruption_before_recording_ends_everything(tmp_path: Path) -> None:
    workload = generating(3, on_step=raising(KeyboardInterrupt()))

    recording = record(workload, plan(tmp_path / "t.json", Limits(1, 0)))

    assert recording.trace is None
    assert list(tmp_path.iterdir()) == []


def test_another_profiler_is_an_error(tmp_path: Path) -> None:
    with torch.profiler.profile(), pytest.raises(MmprofError) as caught:
        record(generating(1), plan(tmp_path / "t.json"))

    assert caught.value.code == "MM-E057"


def test_a_workload_that_profiles_itself_is_an_error(tmp_path: Path) -> None:
    def run() -> None:
        with torch.profiler.profile():
            torch.ones(1)

    with pytest.raises(MmprofError) as caught:
        record(Workload("own", {}, run), plan(tmp_path / "t.json"))

    assert caught.value.code == "MM-E057"
    assert list(tmp_path.iterdir()) == []


def test_a_fused_encoder_is_noted(tmp_path: Path) -> None:
    layer = torch.nn.TransformerEncoderLayer(4, 2, batch_first=True).eval()
    workload = Workload("encoder", {"": layer}, lambda: layer(torch.ones(1, 2, 4)))

    assert "fused path" in record(workload, plan(tmp_path / "t.json")).sidecar.notes[0]


def test_events_are_counted_across_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmprof.tracer.trace_files._CHUNK_BYTES", 7)
    text = '{"traceEvents": [' + ",".join(['{"ph": "X", "dur": 1}'] * 5) + "]}"

    def export(path: str) -> None:
        Path(path).write_text(text)

    file = write_trace(tmp_path / "t.json", export, force=False)

    assert (file.events, file.bytes) == (5, len(text))
    assert (tmp_path / "t.json").read_text() == text


@pytest.mark.parametrize(
    ("name", "magic"),
    [("t.json", b" {\n"), ("t.json.gz", b"\x1f\x8b"), ("t.json.zst", b"\x28\xb5")],
)
def test_the_suffix_says_how_it_is_compressed(tmp_path: Path, name: str, magic: bytes) -> None:
    record(generating(1), plan(tmp_path / name))

    assert (tmp_path / name).read_bytes().startswith(magic)
    assert mmprof.load(tmp_path / name).host.height > 0


def test_a_name_may_have_any_character(tmp_path: Path) -> None:
    path = tmp_path / 'a"b\\c é.json'

    record(generating(1), plan(path))

    assert json.loads(path.read_text())["traceName"] == str(path)
    assert sorted(tmp_path.iterdir()) == [path, Path(f"{path}.mmprof.json")]


@pytest.mark.parametrize("existing", ["t.json", "t.json.mmprof.json"])
def test_neither_trace_nor_sidecar_is_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")

    with pytest.raises(MmprofError, match="exists; it was not overwritten"):
        check_trace_path(tmp_path / "t.json", force=False)
    check_trace_path(tmp_path / "t.json", force=True)


def test_ranks_have_files_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_by_rank(Path("a/t.json.gz")) == Path("a/t.json.gz")
    monkeypatch.setenv("RANK", "3")
    assert named_by_rank(Path("a/t.json.gz")) == Path("a/t.rank3.json.gz")


def test_the_rank_is_in_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    record(generating(1), plan(tmp_path / "t.json"))

    assert mmprof.analyze(tmp_path / "t.json").devices[0].rank == 3


@pytest.mark.parametrize(
    ("count", "rank", "coverage"),
    [
        (1, 0, 0.0),
        (2, 0, 0.5),  # below both or above both: 2 x 1/4
        (5, 0, 0.9375),  # 1 - 2/32
        (6, 0, 0.96875),  # 1 - 2/64
        (9, 1, 0.9609375),  # 1 - 2 (1 + 9) / 512
    ],
)
def test_the_interval_of_a_median(count: int, rank: int, coverage: float) -> None:
    assert median_interval(count) == (rank, coverage)


def test_runs_are_summarized() -> None:
    timing = summarized([5, 1, 2, 9, 3, 4, 6, 8, 7], warmup_s=[20])

    assert (timing.median_s, timing.interval_s) == (5, (2, 8))
    assert (timing.runs_s[0], timing.warmup_s) == (5, [20])
