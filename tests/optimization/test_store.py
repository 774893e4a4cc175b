"""What is kept on disk: nothing is lost, nothing stale is found."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.families import families
from mmprof.tracer.optimization.fingerprint import asked_for, fingerprint
from mmprof.tracer.optimization.records import Compared, RequestSeen
from mmprof.tracer.optimization.store import open_run, runs_in
from mmprof.tracer.order import Subject, Wish
from mmprof.tracer.verify_messages import Prepared
from mmprof.tracer.verify_results import RecordedRequest
from mmprof.tracer.verify_sides import Effort

ONE = Compared(stack=["a"], on=[], budget=0.0, took_s=1.5)
TWO = RequestSeen(
    stack=["a"],
    recorded=RecordedRequest(window_ns=10, classes_ns={"linear": 6}, causes_ns={"python": 4}),
)


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    run = open_run(tmp_path / "new" / "folder", "abc")
    for record in (ONE, TWO, ONE):
        run.append(record)
    again = open_run(tmp_path / "new" / "folder", "abc")
    assert again.records == [ONE, TWO, ONE]
    assert again.of(RequestSeen) == [TWO]


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_half_a_record_of_a_killed_process_costs_only_itself(tmp_path: Path, kept: int) -> None:
    run = open_run(tmp_path, "abc")
    run.append(ONE)
    whole = run.path.read_bytes()
    run.path.write_bytes(whole + whole[:kept])
    torn = open_run(tmp_path, "abc")
    assert torn.records == [ONE]
    torn.append(TWO)
    assert open_run(tmp_path, "abc").records == [ONE, TWO]


def test_a_record_of_another_version_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "abc.jsonl").write_bytes(b'{"type":"Unknown"}\n' + msgspec.json.encode(ONE))
    assert open_run(tmp_path, "abc").records == [ONE]


def test_runs_are_listed_the_last_changed_first(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "none") == []
    for name, at in (("a", 2), ("b", 3), ("c", 1)):
        run = open_run(tmp_path, name)
        run.append(ONE)
        os.utime(run.path, (at, at))
    assert [run.name for run in runs_in(tmp_path)] == ["b", "a", "c"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MmprofError) as raised:
        open_run(tmp_path / "file" / "runs", "abc").append(ONE)
    assert raised.value.code == "MM-E031"


READY = Prepared(
    name="llama",
    arguments={"size": "tiny"},
    device="cpu",
    device_name="a CPU",
    clock="cpu",
    threads=1,
    versions={"torch": "2.13.0"},
    apply_s=0.0,
    warmup_s=[0.1],
)
CODE = "digest"
SUBJECT = Subject(target="m:f", wish=Wish(seed=3))


def test_a_measurement_is_stale_when_anything_it_depends_on_changes() -> None:
    name = fingerprint(SUBJECT, Effort(), READY, CODE)
    assert name == fingerprint(
        SUBJECT, Effort(), msgspec.structs.replace(READY, warmup_s=[9.0]), CODE
    )
    others = [
        fingerprint(Subject(target="m:f", wish=Wish(seed=4)), Effort(), READY, CODE),
        fingerprint(SUBJECT, Effort(precision=0.5), READY, CODE),
        fingerprint(SUBJECT, Effort(), READY, "another"),
        *(
            fingerprint(SUBJECT, Effort(), msgspec.structs.replace(READY, **{field: value}), CODE)
            for field, value in {
                "arguments": {"size": "small"},
                "device_name": "another CPU",
                "threads": 2,
                "versions": {"torch": "2.14.0"},
            }.items()
        ),
    ]
    assert len({name, *others}) == 1 + len(others)


def test_what_was_asked_for_reads_as_a_command() -> None:
    wish = Wish(size="small", batch=2, settings=("beams=5",))
    subject = Subject(family=families()["llama"], wish=wish, device="cpu")
    assert asked_for(subject) == "llama --size small --device cpu --batch 2 --set beams=5"
