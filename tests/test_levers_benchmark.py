"""The benchmark of levers: what it keeps, what it measures next, and its page against answers worked out by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.levers.__main__ import TASKS, cases
from benchmarks.levers.figures import (
    Checked,
    accuracy,
    accuracy_by_lever,
    best_exact,
    geometric_mean,
    mean_over_families,
)
from benchmarks.levers.left_page import left_section
from benchmarks.levers.page import EMPTY, page
from benchmarks.levers.singles import Plan, Session, readable, result_of, subject_of
from benchmarks.levers.stacks import command, search
from benchmarks.levers.store import (
    Case,
    Foreseen,
    Machine,
    Measured,
    Setting,
    Stacked,
    Store,
    Surveyed,
    open_store,
)
from mmprof.tracer.families import families
from mmprof.tracer.optimization.records import BaselineMeasured, Compared
from mmprof.tracer.optimization.search import OutOfTimeError
from mmprof.tracer.verify_results import (
    Baseline,
    ChangedTime,
    LeverResult,
    OutputCheck,
    Predicted,
    RecordedRequest,
    Rung,
    SearchFacts,
    Verification,
)
from mmprof.tracer.verify_sides import Effort
from mmprof.tracer.verify_statistics import Speedup
from tests.conftest import ROOT
from tests.optimization.fakes import fake, ratio

AT = "2026-01-02T03:04:05+00:00"
MACHINE = Machine("cpu", "Some CPU", "cpu", 1, {"torch": "2.13.0"})
LLAMA = Case("llama", "T-T", "small")
OK = OutputCheck(ok=True, detail="equal", relative_error=0.0)


def setting(case: Case = LLAMA) -> Setting:
    return Setting(case, "", Effort(max_time_s=20))


def predicted(expected: float) -> Predicted:
    return Predicted(expected - 0.1, expected, expected + 0.1)


def surveyed(foreseen: dict[str, Foreseen], case: Case = LLAMA) -> Surveyed:
    return Surveyed(
        setting=setting(case),
        at=AT,
        machine=MACHINE,
        workload={"name": case.family},
        foreseen=foreseen,
        baseline=BaselineMeasured(
            deterministic=True, repeatable=OK, runs_s=[1.0, 3.0], noise=1.0, peak_bytes=2 << 30
        ),
    )


def measured(lever: str, speedup: float | None, case: Case = LLAMA, **fields: object) -> Measured:
    known = {"verdict": "verified", "exactness": "reassociation", "output_check": OK}
    if speedup is not None:
        known |= {"speedup": speedup, "interval": (speedup - 0.05, speedup + 0.05), "pairs": 6}
    return Measured(
        setting=setting(case),
        at=AT,
        machine=MACHINE,
        took_s=30.0,
        timed_out=False,
        baseline_s=[1.0],
        baseline_peak_bytes=2 << 30,
        noise=1.0,
        result=LeverResult(lever=lever, peak_bytes=1 << 30, **{**known, **fields}),
    )


def rung(levers: list[str], speedup: float, exactness: str = "reassociation") -> Rung:
    ends = (speedup, speedup)
    return Rung(
        levers=levers, verdict="verified", speedup=speedup, interval=ends, exactness=exactness
    )


def stacked(case: Case, ladder: list[Rung]) -> Stacked:
    facts = SearchFacts(
        conclusion="",
        confirmed=True,
        complete=True,
        budget_s=1200,
        spent_s=300,
        measured=4,
        found_after=3,
        reused=0,
        exhaustive=31,
        best_exact=[],
        untried=[],
        run="0",
    )
    found = Verification(
        workload={"name": case.family},
        device="cpu",
        device_name="Some CPU",
        clock="cpu",
        threads=1,
        versions={},
        baseline=Baseline(
            runs_s=[1.0],
            median_s=1.0,
            interval_s=(1.0, 1.0),
            peak_bytes=None,
            deterministic=True,
            noise=1.0,
            idle_share=None,
        ),
        levers=[],
        ladder=ladder,
        search=facts,
    )
    return Stacked(setting=setting(case), at=AT, budget_s=1200, wall_s=305.0, found=found)


def test_a_store_keeps_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "new" / "levers.jsonl"
    records = [
        surveyed({"sdpa": Foreseen(predicted=predicted(1.5))}),
        measured("sdpa", 1.4),
        stacked(LLAMA, [rung(["sdpa"], 1.4)]),
    ]
    for record in records:
        open_store(path).append(record)

    assert open_store(path).records == records


def test_half_a_line_of_a_killed_process_costs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "levers.jsonl"
    open_store(path).append(measured("sdpa", 1.4))
    with path.open("ab") as file:
        file.write(b'{"type": "Measured", "setting": {"ca')
    open_store(path).append(measured("dtype", 2.0))

    assert [m.result.lever for m in open_store(path).of(Measured)] == ["sdpa", "dtype"]


def test_what_is_known_under_one_effort_is_not_known_under_another() -> None:
    store = Store(Path("none"), [measured("sdpa", 1.4)])

    assert store.levers(setting()) == {"sdpa"}
    assert store.levers(Setting(LLAMA, "", Effort(max_time_s=5))) == set()
    assert store.levers(Setting(LLAMA, "cuda", Effort(max_time_s=20))) == set()


@dataclass
class FakeBench:
    """Each lever is 1.5 times as fast; after some of them the process is killed, or the time is over."""

    left: int
    ending: type[BaseException] = KeyboardInterrupt
    hangs_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    def compare(self, stack: tuple[str, ...], on: tuple[str, ...], *, fresh: bool) -> Compared:
        if self.left == 0:
            raise self.ending
        self.left -= 1
        self.asked.append(stack[0])
        empty = Compared(stack=list(stack), on=[], budget=0.0, took_s=self.hangs_s)
        if self.hangs_s:
            return replace(empty, failure="no answer", timed_out=True)
        return replace(empty, check=OK, total=ratio(1.5), baseline_s=[3], runs_s=[2])


LEVERS = {name: fake(name) for name in ("a", "b", "c", "d", "e", "f")}
KNOWN = {
    "a": Foreseen(inapplicable="no such layer"),
    "b": Foreseen(unpredicted="nothing to change"),
    "c": Foreseen(silent=True),
    "d": Foreseen(predicted=predicted(1.2)),
    "e": Foreseen(predicted=predicted(1.8)),
    "f": Foreseen(predicted=predicted(1.001)),
}


def session(store: Store, bench: FakeBench, monkeypatch: pytest.MonkeyPatch, **plan) -> Session:
    @contextmanager
    def bench_of(self: Session, asked: Setting) -> Iterator[FakeBench]:
        yield bench

    monkeypatch.setattr(Session, "_bench", bench_of)
    chosen = {"settings": [setting()], "known": LEVERS, "chosen": list(LEVERS)}
    return Session(Plan(**{**chosen, **plan}), store)


def test_levers_likeliest_to_pay_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Path("none"), [surveyed(KNOWN)])

    pending = session(store, FakeBench(0), monkeypatch).pending(setting())

    # predicted gains, then what no trace can tell, then what is predicted to gain nothing; "a" does not apply
    assert pending == ["e", "d", "c", "b", "f"]


def test_killed_and_started_again_nothing_is_lost_or_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "levers.jsonl"
    open_store(path).append(surveyed(KNOWN))
    first, second = FakeBench(left=2), FakeBench(left=99)

    with pytest.raises(KeyboardInterrupt):
        session(open_store(path), first, monkeypatch).run()
    complete = session(open_store(path), second, monkeypatch).run()

    assert complete
    assert (first.asked, second.asked) == (["e", "d"], ["c", "b", "f"])
    assert [m.result.lever for m in open_store(path).of(Measured)] == ["e", "d", "c", "b", "f"]
    assert session(open_store(path), FakeBench(0), monkeypatch).run()


def test_workloads_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Case("hstu", "H-A", "small")
    store = Store(tmp_path / "levers.jsonl", [surveyed(KNOWN), surveyed(KNOWN, other)])
    bench = FakeBench(left=99)

    session(store, bench, monkeypatch, settings=[setting(), setting(other)]).run()

    assert bench.asked == [*"edcb", *"edcb", "f", "f"]


def test_the_end_of_the_budget_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "levers.jsonl", [surveyed(KNOWN)])

    complete = session(store, FakeBench(1, ending=OutOfTimeError), monkeypatch).run()

    assert not complete
    assert [m.result.lever for m in store.of(Measured)] == ["e"]


@pytest.mark.parametrize(("took_s", "kept"), [(600.0, ["e", "d", "c", "b", "f"]), (20.0, [])])
def test_no_answer_is_kept_unless_the_budget_cut_it_short(
    took_s: float, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "levers.jsonl", [surveyed(KNOWN)])

    session(store, FakeBench(99, hangs_s=took_s), monkeypatch).run()

    assert [m.result.lever for m in store.of(Measured) if m.timed_out] == kept
    assert page(store).count("| failed (no answer in time) |") == len(kept)


def test_a_lever_may_be_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "levers.jsonl", [surveyed(KNOWN), measured("e", 3.0)])
    bench = FakeBench(left=99)

    session(store, bench, monkeypatch, chosen=["e"], again=frozenset({"e"})).run()

    assert bench.asked == ["e"]
    assert "| `e` | 1.500x |" in page(store)
    assert "3.000x" not in page(store)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"failure": "no answer within 300 s", "timed_out": True}, "failed"),
        ({"failure": "nothing to act on", "inapplicable": True}, "not applicable"),
        ({"check": OutputCheck(ok=False, detail="differ")}, "outputs differ"),
        ({"check": OK, "total": ratio(1.5)}, "verified"),
        ({"check": OK, "total": ratio(1.005)}, "no gain"),
        ({"check": OK, "total": ratio(0.5)}, "slower"),
    ],
)
def test_verdicts(fields: dict[str, object], verdict: str) -> None:
    found = Compared(stack=["e"], on=[], budget=0, baseline_s=[3], runs_s=[2], **fields)

    result = result_of(found, LEVERS["e"], surveyed(KNOWN))

    assert (result.verdict, result.predicted) == (verdict, predicted(1.8))


def test_reasons_have_no_folders_of_this_machine() -> None:
    told = 'File "/home/me/lib/torch/nn/linear.py", line 3: a/b is 1/2, see https://x.org/y'

    assert readable(told).startswith('File "linear.py", line 3: a/b is 1/2')


def test_errors_of_predictions() -> None:
    # measured 2 (1.9 to 2.1), predicted 1.5: |1.5 - 2| / 2 = 25 %; of the gain |1.5 - 2| / 1 = 50 %
    half = Checked("llama", "sdpa", predicted(1.5), Speedup(2.0, 1.9, 2.1))
    # measured 1.25 (1.2 to 1.3), predicted 1.25: 0 %, 0 %, met
    right = Checked("hstu", "sdpa", predicted(1.25), Speedup(1.25, 1.2, 1.3))
    # measured 1 (0.99 to 1.01), predicted 1.6: 60 %; no error of a gain that may be nothing
    nothing = Checked("llama", "dtype", predicted(1.6), Speedup(1.0, 0.99, 1.01))

    found = accuracy([half, right, nothing])

    assert (found.count, found.gains, found.within) == (3, 2, 1)
    assert found.off == pytest.approx(0.25)
    assert found.gain_off == pytest.approx(0.25)  # between 50 % and 0 %
    by_lever = accuracy_by_lever([half, right, nothing])
    assert list(by_lever) == ["dtype", "sdpa"]
    assert by_lever["dtype"].gain_off is None
    assert by_lever["sdpa"].off == pytest.approx(0.125)


def test_geometric_means() -> None:
    exact = geometric_mean([Speedup(2, 2, 2), Speedup(8, 8, 8)])
    assert (exact.median, exact.low, exact.high) == pytest.approx((4, 4, 4))
    # each is unsure by a factor of e in both directions: log errors hypot(1, 1) / 2
    unsure = [Speedup(2, 2 / math.e, 2 * math.e)] * 2
    assert geometric_mean(unsure).high == pytest.approx(2 * math.exp(math.sqrt(2) / 2))
    # tasks of one family first: sqrt(1 * 4) = 2, then sqrt(2 * 8) = 4
    tasks = [("seamless", 1.0), ("seamless", 4.0), ("llama", 8.0)]
    found = mean_over_families((name, Speedup(s, s, s)) for name, s in tasks)
    assert found.median == pytest.approx(4)


def test_the_best_exact_stack_is_the_highest_exact_rung() -> None:
    ladder = [rung(["a"], 1.2), rung(["a", "b"], 1.5), rung(["a", "b", "c"], 2.0, "lossy")]

    found = stacked(LLAMA, ladder).found

    assert found is not None
    assert best_exact(found) == ladder[1]


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    assert page(open_store(tmp_path / "none.jsonl")) == EMPTY


def test_the_page_of_a_store_made_by_hand() -> None:
    guesses = OutputCheck(ok=True, detail="equal", facts={"acceptance": 0.5})
    hostile = "crash | <b>&\nnext"
    store = Store(
        Path("none"),
        [
            surveyed(
                {
                    "sdpa": Foreseen(predicted=predicted(1.5)),
                    "layerskip": Foreseen(unpredicted="no trace shows it", silent=True),
                    "tf32": Foreseen(inapplicable="needs a GPU"),
                    "float8": Foreseen(inapplicable="needs a GPU"),
                    "dtype": Foreseen(),
                }
            ),
            measured("sdpa", 2.0),
            measured("layerskip", 0.5, verdict="slower", output_check=guesses),
            measured("autoquant", None, verdict="failed", reason=hostile, output_check=None),
            stacked(LLAMA, [rung(["sdpa"], 2.0), rung(["sdpa", "dtype"], 8.0, "lossy")]),
            stacked(Case("hstu", "H-A", "small"), [rung(["torch_compile"], 2.0)]),
            stacked(
                Case("llama", "T-T", "small", requests=8), [rung(["continuous_batching"], 8.0)]
            ),
            stacked(Case("diffusion", "T-I", "small"), [rung(["sdpa"], 99.0)]),
        ],
    )

    shown = page(store)
    lines = shown.splitlines()

    assert "Baseline: 2.00 s a request; peak memory 2.00 GiB;" in shown  # the median of 1 s and 3 s
    assert lines[
        lines.index(
            "| lever | speedup | 95 % interval | predicted: low, expected, high | "
            "outputs | peak memory | setup | verdict |"
        )
        + 2
    ] == (
        "| `sdpa` | 2.000x | 1.950x to 2.050x | 1.40, 1.50, 1.60 | reassociation: error 0 | "
        "2.00 GiB to 1.00 GiB | - | verified |"
    )
    assert "| `layerskip` | 0.500x *synthetic* |" in shown
    assert "- `autoquant`: crash &#124; &lt;b&gt;&amp;" in shown
    assert "Not applicable: `tf32`, `float8` (needs a GPU)." in shown
    assert "Not measured: `dtype`." in shown
    assert "Not predicted: `layerskip` (no trace shows it)." in shown
    assert "| all | 1 | 25.0 % | 50.0 % (of 1) | 0 of 1 |" in shown
    assert "| `sdpa` | llama T-T | 1.40, 1.50, 1.60 | 2.000x | 1.950x to 2.050x | 25.0 % |" in shown
    assert (
        "| llama T-T | `sdpa` | 2.000x (2.000x to 2.000x) | `sdpa`, `dtype` | "
        "8.000x (8.000x to 8.000x) *synthetic* | `sdpa` 2.000x | 3, 4, 3 | 305 s |"
    ) in shown
    # diffusion is none of the paper's families: sqrt(2 * 2) = 2, sqrt(8 * 2) = 4
    assert "Geometric mean over 2 of the paper's 4 families (llama, hstu;" in shown
    assert "| best exact stacks, of one request at a time | 2.000x (2.000x to 2.000x) |" in shown
    # with eight requests: the root of llama's 2 * 8 is 4, and that of 4 * 2 is 2.828
    several = "best exact stacks, with llama T-T, 8 requests as a task, too"
    assert f"| {several} | 2.828x (2.828x to 2.828x) |" in shown
    assert "| 4.000x (4.000x to 4.000x) *synthetic* |" in shown
    assert "| 3.88x |" in shown


def recorded(window_ns: int, linear_ns: int) -> RecordedRequest:
    idle_ns = window_ns - linear_ns
    return RecordedRequest(
        window_ns=window_ns, classes_ns={"linear": linear_ns}, causes_ns={"python": idle_ns}
    )


def test_the_page_tells_where_the_time_of_a_stack_is_left() -> None:
    faster = replace(
        rung(["dtype | <b>"], 2.0, "lossy"),
        added="dtype | <b>",
        recorded=recorded(60, 30),
        changed=[ChangedTime(key="linear", idle=False, before_ns=80, after_ns=30, delta_ns=-50)],
    )
    dropped = replace(rung(["sdpa"], 1.0), recorded=recorded(100, 1), verdict="no gain")
    bare = stacked(LLAMA, [faster, dropped])
    assert bare.found is not None
    baseline = replace(bare.found.baseline, recorded=recorded(100, 80))
    known = replace(bare, found=replace(bare.found, baseline=baseline))

    lines = list(left_section({LLAMA: known}, "small"))

    assert lines[0] == "### Where the time is left, small"
    assert lines[2] == "**llama T-T**"
    assert (
        lines[3].splitlines()[0] == "| recorded | verdict | time | idle | linear | other classes |"
    )
    assert lines[3].splitlines()[2:] == [
        "| baseline | - | 100 ns | 20.0 % | 80.0 % | 0.0 % |",
        "| + dtype &#124; &lt;b&gt; | verified | 60 ns | 50.0 % | 50.0 % | 0.0 % |",
    ]
    assert lines[4].startswith("- &#43; dtype &#124; &lt;b&gt;: 80 ns -&gt; 30 ns recorded; linear")
    assert not list(left_section({LLAMA: stacked(LLAMA, [])}, "small"))


def test_stacks_that_are_known_are_not_searched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"llama": stacked(LLAMA, [])}
    asked: list[str] = []

    def searched(given: Setting, arguments: list[str], budget_s: float) -> Stacked:
        asked.append(given.case.family)
        return answers.get(
            given.case.family,
            Stacked(setting=given, at=AT, budget_s=budget_s, wall_s=1, found=None, failure="crash"),
        )

    monkeypatch.setattr("benchmarks.levers.stacks.searched", searched)
    both = [setting(), setting(Case("hstu", "H-A", "small"))]
    for _ in range(2):
        search(both, open_store(tmp_path / "s"), tmp_path / "runs", budget_s=60, again=False)

    assert asked == ["llama", "hstu", "hstu"]  # what failed is tried again


def test_the_command_of_a_search() -> None:
    given = command(setting(Case("chameleon", "T-I", "small", 64)), Path("runs"), 90.0)

    assert given[:4] == ["-m", "mmprof", "optimize", "chameleon"]
    assert {"--task=T-I", "--size=small", "--output-length=64", "--budget=90s"} <= set(given)
    assert not [option for option in given if option.startswith(("--device", "--set"))]

    several = command(setting(Case("llama", "T-T", "small", requests=8)), Path("runs"), 90.0)
    assert "--set=requests=8" in several


def test_the_requests_are_of_tasks_that_the_families_have() -> None:
    known = {name: {task.name for task in family.tasks} for name, family in families().items()}

    assert TASKS.keys() == known.keys()
    assert all(case.task in known[case.family] for case in cases(TASKS, "small", whole=False))
    assert {c.output_length for c in cases(TASKS, "small", whole=True)} == {0}


def test_a_family_that_serves_several_requests_has_a_run_of_them() -> None:
    served = [case for case in cases(["hstu", "llama"], "tiny", whole=False) if case.requests]

    assert [case.name for case in served] == ["llama T-T, 8 requests"]
    assert subject_of(setting(served[0])).wish.settings == ("requests=8",)
    assert subject_of(setting(LLAMA)).wish.settings == ()


def test_write_keeps_what_stands_outside_the_marks(tmp_path: Path) -> None:
    written = tmp_path / "levers.md"
    written.write_text("# Head\n<!-- results -->old<!-- results -->\ntail\n")
    options = ["write", f"--store={tmp_path / 'none.jsonl'}", f"--page={written}"]

    subprocess.run([sys.executable, "-m", "benchmarks.levers", *options], check=True, cwd=ROOT)

    shown = written.read_text()
    assert shown.startswith("# Head\n")
    assert shown.endswith("\ntail\n")
    assert EMPTY in shown
    assert "old" not in shown


def test_the_page_has_its_marks() -> None:
    assert (ROOT / "docs" / "levers.md").read_text().count("<!-- results -->") == 2
