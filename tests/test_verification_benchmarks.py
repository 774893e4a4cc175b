"""Trials of nothing are counted and resumed; an emitted program is compared with what was verified."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import emitted, no_gain
from mmprof.tracer.optimization.json_lines import append_record
from mmprof.tracer.verify_results import Rung
from mmprof.tracer.verify_sides import Effort
from mmprof.tracer.verify_statistics import Speedup

TRIAL = no_gain.Trial(
    setting="llama tiny on a CPU",
    verdict="no gain",
    speedup=1.0,
    interval=(0.98, 1.02),
    noise=1.01,
    pairs=6,
    took_s=20.0,
)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_the_score_interval(hits: int, trials: int, low: float, high: float) -> None:
    assert no_gain.wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_trials_go_on_where_they_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "folder" / "trials.jsonl"
    other = msgspec.structs.replace(TRIAL, setting="llama tiny on another CPU")
    for each in (TRIAL, other, TRIAL):
        append_record(store, each)
    with store.open("ab") as file:
        file.write(msgspec.json.encode(TRIAL)[:40])  # killed while it wrote
    made = []

    def trial(effort: Effort) -> no_gain.Trial:
        made.append(effort)
        return msgspec.structs.replace(TRIAL, verdict="slower")

    monkeypatch.setattr(no_gain, "trial", trial)
    found = no_gain.run(store, Effort(), 4)
    assert [each.verdict for each in found] == ["no gain", "no gain", "slower", "slower"]
    assert len(made) == 2
    assert len(no_gain.kept(store)) == 5
    text = no_gain.report(found)
    assert "`no gain` in 2 of 4 trials (15.0% to 85.0%" in text
    assert "| `slower` | 2 |" in text


def test_the_page_keeps_what_is_around_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{no_gain.MARK}\n\nold\n\n{no_gain.MARK}\nafter\n")
    no_gain.write(page, "new\n")
    assert page.read_text() == f"before\n\n{no_gain.MARK}\n\nnew\n\n{no_gain.MARK}\nafter\n"


PROGRAM = """import sys
LEVERS = ['fast']
took_ms = 10.0 if LEVERS else 25.0
sys.stdout.write(f"median of 10 requests {took_ms:.3f} ms, with {', '.join(LEVERS) or 'no levers'}\\n")
"""


def test_a_program_is_compared_with_itself_without_levers(tmp_path: Path) -> None:
    program = tmp_path / "optimized.py"
    program.write_text(PROGRAM)
    own = emitted.speedup(program, 2)
    assert own == Speedup(2.5, 2.5, 2.5)
    rung = Rung(levers=["fast"], verdict="verified", exactness="identical", interval=(2.0, 2.6))
    assert emitted.meets(own, rung)
    assert not emitted.meets(own, msgspec.structs.replace(rung, interval=(2.6, 3.0)))
    assert not emitted.meets(own, msgspec.structs.replace(rung, interval=(1.1, 2.4)))
