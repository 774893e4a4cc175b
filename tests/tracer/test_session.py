"""`mmprof.trace`: recording a part of one's own program."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import mmprof  # noqa: E402
from mmprof.analyzers.sidecar import read_sidecar  # noqa: E402
from tests.tracer.toys import Toy, annotations_in  # noqa: E402

X = torch.ones(1, 4)


def test_a_block_is_recorded_with_its_modules(tmp_path: Path) -> None:
    model = Toy()

    with mmprof.trace(tmp_path / "t.json.gz") as session, mmprof.phase("prefill"):
        model(X)

    assert annotations_in(tmp_path / "t.json.gz")[:2] == [
        "mmprof/phase:prefill",
        "nn.Module: Toy (Toy)",
    ]
    assert session.trace is not None
    assert session.trace.path == tmp_path / "t.json.gz"


def test_only_active_steps_are_recorded(tmp_path: Path) -> None:
    with mmprof.trace(tmp_path / "t.json", wait=1, warmup=1, active=2, modules=False) as session:
        for _ in range(6):
            torch.add(X, 1)
            session.step()

    steps = [name for name in annotations_in(tmp_path / "t.json") if name.startswith("Prof")]
    assert steps == ["ProfilerStep#2", "ProfilerStep#3"]


def test_a_schedule_that_ends_early_records_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(mmprof.MmprofError) as caught,
        mmprof.trace(tmp_path / "t.json", wait=5, warmup=1, active=1) as session,
    ):
        session.step()

    assert (caught.value.code, caught.value.found) == ("MM-E058", "1 steps")
    assert list(tmp_path.iterdir()) == []


def test_steps_to_wait_for_need_steps_to_record(tmp_path: Path) -> None:
    with pytest.raises(mmprof.MmprofError, match="active"):
        mmprof.trace(tmp_path / "t.json", wait=1)


def test_an_exception_goes_on_and_is_in_the_sidecar(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), mmprof.trace(tmp_path / "t.json"):
        torch.add(X, 1)
        raise ValueError("bad")

    sidecar = read_sidecar(tmp_path / "t.json")
    assert sidecar is not None
    assert sidecar.error is not None
    assert sidecar.error.message == "bad"


def test_a_decorated_function_is_recorded_once(tmp_path: Path) -> None:
    calls = []

    @mmprof.trace(tmp_path / "t.json")
    def add(n: int, *, twice: bool = False) -> int:
        """Add."""
        calls.append(n)
        return n * (2 if twice else 1)

    assert (add(1), add(2, twice=True), add.__doc__) == (1, 4, "Add.")
    assert calls == [1, 2]
    assert (tmp_path / "t.json").is_file()


def test_nothing_runs_where_the_path_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("mine")

    with pytest.raises(mmprof.MmprofError, match="not overwritten"):
        mmprof.trace(tmp_path / "t.json").__enter__()

    with mmprof.trace(tmp_path / "t.json", force=True):
        torch.add(X, 1)
    assert mmprof.load(tmp_path / "t.json").host.height > 0


def test_each_rank_writes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")

    with mmprof.trace(tmp_path / "t.json"):
        torch.add(X, 1)

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "t.rank2.json",
        "t.rank2.json.mmprof.json",
    ]
