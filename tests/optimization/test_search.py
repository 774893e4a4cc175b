"""The search over made-up measurements: what it tries, in which order, and what it keeps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprof.tracer.lever import EVERY
from mmprof.tracer.optimization.records import Compared
from mmprof.tracer.optimization.search import EXACT, EXACT_SHARE, Found, Search
from mmprof.tracer.optimization.stacks import Stack, all_stacks, count_stacks
from tests.optimization.fakes import FakeBench, FakeOracle, fake, ratio

LEVERS = {
    "sdpa": fake("sdpa"),
    "compile": fake("compile", after=(EVERY,), conflicts=("static",)),
    "static": fake("static"),
    "bf16": fake("bf16", exactness="lossy", budget=0.1),
    "int8": fake("int8", exactness="lossy", budget=0.1, after=("bf16",)),
}
FACTORS = {"sdpa": 1.2, "compile": 1.5, "static": 1.1, "bf16": 2.0, "int8": 0.5}


def searched(bench: FakeBench, predicted: dict[str, float] | None = None, **oracle: Any) -> Found:
    foreseen = FakeOracle(FACTORS if predicted is None else predicted, **oracle)
    return Search({n: LEVERS[n] for n in LEVERS if n in bench.factors}, bench, foreseen).run()


def test_exact_levers_come_first_the_most_promising_before_the_others() -> None:
    bench = FakeBench(FACTORS)
    found = searched(bench)
    assert bench.asked == [
        (("compile",), ()),
        (("sdpa", "compile"), ("compile",)),
        (("sdpa", "bf16", "compile"), ("sdpa", "compile")),
    ]
    assert [step.lever for step in found.kept] == ["compile", "sdpa", "bf16"]
    assert found.stack == ("sdpa", "bf16", "compile")
    assert found.confirmation is not None
    assert bench.confirmed == [found.stack]
    assert found.untried == {
        "static": "compile, which it excludes, is kept and was measured to gain as much",
        "int8": "predicted to gain nothing on top of sdpa + bf16 + compile",
    }


def test_what_is_measured_decides_not_what_is_predicted() -> None:
    bench = FakeBench({"sdpa": 1.0, "compile": 0.7, "bf16": 2.0})
    found = searched(bench, {"sdpa": 3.0, "compile": 2.0, "bf16": 1.1})
    assert {step.lever: step.verdict for step in found.steps} == {
        "sdpa": "no gain",
        "compile": "slower",
        "bf16": "verified",
    }
    assert found.stack == ("bf16",)


@pytest.mark.parametrize(
    ("why", "verdict"), [("differs", "outputs differ"), ("out of memory", "failed")]
)
def test_what_fails_is_a_verdict_and_the_search_goes_on(why: str, verdict: str) -> None:
    bench = FakeBench(FACTORS, broken={"compile": why})
    found = searched(bench)
    assert found.steps[0].verdict == verdict
    assert "compile" not in found.stack
    assert found.stack[-1] == "bf16"


def test_a_kept_lever_gives_way_to_a_better_one_that_it_excludes() -> None:
    # predicted to be the better one, static is first; it gains less than compile is predicted to
    found = searched(FakeBench({"static": 1.1, "compile": 1.5}), {"static": 1.6, "compile": 1.3})
    assert [step.stack for step in found.kept] == [("static",), ("compile",)]
    assert found.kept[1].predicted is not None
    assert found.kept[1].predicted.expected == pytest.approx(1.3 / 1.1)
    # it gains as much as compile is predicted to at most, 1.3 * 1.05
    found = searched(FakeBench({"static": 1.4, "compile": 1.5}), {"static": 1.6, "compile": 1.3})
    assert found.stack == ("static",)
    assert found.untried["compile"].endswith("is kept and was measured to gain as much")
    bench = FakeBench({"static": 1.1, "compile": 1.5})
    found = searched(bench, {"static": 1.2}, silent={"compile"}, reasons={"compile": "unknown"})
    assert bench.asked == [(("static",), ()), (("compile",), ("static",))]
    assert found.stack == ("compile",)
    assert [step.stack for step in found.kept] == [("static",), ("compile",)]


def test_what_changes_nothing_in_the_trace_is_tried_only_before_nothing_helps() -> None:
    reasons = {"sdpa": "no attention"}
    helped = searched(FakeBench({"sdpa": 1.2, "compile": 1.5}), {"compile": 1.5}, reasons=reasons)
    assert helped.stack == ("compile",)
    assert helped.untried == {"sdpa": "no attention"}
    bench = FakeBench({"sdpa": 1.2, "compile": 0.9})
    helpless = searched(bench, {"compile": 1.5}, reasons=reasons)
    assert helpless.stack == ("sdpa",)
    assert not helpless.untried


def test_nothing_helps_is_said_without_a_confirmation() -> None:
    bench = FakeBench({"sdpa": 1.0, "compile": 0.9})
    found = searched(bench)
    assert (found.stack, found.kept, bench.confirmed) == ((), [], [])
    assert found.complete


def test_a_gain_that_noise_explains_is_none() -> None:
    assert searched(FakeBench({"sdpa": 1.05}, noise=1.02)).stack == ("sdpa",)
    assert searched(FakeBench({"sdpa": 1.05}, noise=1.06)).stack == ()


def test_what_is_kept_is_faster_than_both_processes_of_the_baseline() -> None:
    # the twin that stands for what is kept happens to be slow; the baseline itself is not
    class SlowTwin(FakeBench):
        def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
            made = super().compare(stack, on, fresh=fresh)
            return msgspec.structs.replace(made, total=ratio(1.005))

    found = searched(SlowTwin({"sdpa": 1.2}))
    assert [step.verdict for step in found.steps] == ["no gain"]
    assert found.steps[0].reason == "beside the first process of the baseline it was not faster"
    assert found.stack == ()


def test_what_noise_would_hide_comes_after_what_nobody_knows() -> None:
    bench = FakeBench({"sdpa": 1.03, "compile": 1.4}, noise=1.05)
    searched(bench, {"sdpa": 1.03}, reasons={"compile": "nobody knows"}, silent={"compile"})
    assert bench.asked[0] == (("compile",), ())
    bench = FakeBench({"sdpa": 1.03, "compile": 1.4}, noise=1.01)
    searched(bench, {"sdpa": 1.03}, reasons={"compile": "nobody knows"}, silent={"compile"})
    assert bench.asked[0] == (("sdpa",), ())


class Rounding(FakeBench):
    """Outputs of stacks with int8 are off by a share of what they may be."""

    off = 3.0

    def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
        made = super().compare(stack, on, fresh=fresh)
        if made.check is None or made.check.ok:
            return made
        check = msgspec.structs.replace(made.check, relative_error=0.1 * self.off)
        return msgspec.structs.replace(made, check=check, budget=0.1)


def test_outputs_that_are_far_off_beside_exact_levers_are_so_alone() -> None:
    factors = {"compile": 1.5, "int8": 3.0}
    bench = Rounding(factors, broken={"int8": "differs"})
    found = searched(bench, factors)
    assert bench.asked == [(("compile",), ()), (("int8", "compile"), ("compile",))]
    assert found.stack == ("compile",)
    # beside another lossy lever it may be the sum of errors
    factors = {"bf16": 1.5, "int8": 3.0}
    bench = Rounding(factors, broken={"int8": "differs"})
    searched(bench, {"bf16": 4.0, "int8": 3.0})
    assert bench.asked == [(("bf16",), ()), (("bf16", "int8"), ("bf16",)), (("int8",), ("bf16",))]
    # the lossy lever whose place it takes is not beside it
    levers = {
        "compile": fake("compile", after=(EVERY,)),
        "fp16": fake("fp16", exactness="lossy", conflicts=("int8",)),
        "int8": fake("int8", exactness="lossy"),
    }
    factors = {"compile": 1.5, "fp16": 2.0, "int8": 3.0}
    bench = Rounding(factors, broken={"int8": "differs"})
    Search(levers, bench, FakeOracle(factors | {"fp16": 10.0, "int8": 9.0})).run()
    assert ("int8", "compile") in [stack for stack, _ in bench.asked]
    assert ("int8",) not in [stack for stack, _ in bench.asked]


def test_outputs_that_are_not_far_off_may_hold_alone() -> None:
    # what two levers round adds up, and one may change what the other needs
    class Together(Rounding):
        off = 1.2

        def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
            self.broken = {"int8": "differs"} if len(stack) > 1 else {}
            return super().compare(stack, on, fresh=fresh)

    found = searched(Together({"compile": 1.5, "int8": 3.0}), {"compile": 1.5, "int8": 3.0})
    assert found.stack == ("int8",)

    # an exact lever that clashes with another one is tried alone however far off it was
    class Clash(Together):
        off = 1e6

        def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
            self.broken = {"compile": "differs"} if len(stack) > 1 else {}
            return FakeBench.compare(self, stack, on, fresh=fresh)

    found = searched(Clash({"sdpa": 1.2, "compile": 1.5}), {"sdpa": 1.6, "compile": 1.5})
    assert found.stack == ("compile",)


def test_without_time_the_rest_is_untried() -> None:
    found = searched(FakeBench(FACTORS, most=1), reasons={"sdpa": "no attention"})
    assert not found.complete
    assert found.stack == ("compile",)
    assert found.confirmation is None
    assert set(found.untried) == {"sdpa", "static", "bf16", "int8"}
    assert found.untried.pop("sdpa") == "no attention"  # time would not have changed that
    assert "which it excludes" in found.untried.pop("static")
    assert set(found.untried.values()) == {"the budget of time ended before it was measured"}


def test_a_lever_that_another_one_spoils_is_tried_alone() -> None:
    # compile gains 1.5 alone, and nothing on top of sdpa, whose 1.2 was predicted to be 1.6
    bench = FakeBench({"sdpa": 1.2, "compile": 1.5}, together={("sdpa", "compile"): 1.1})
    found = searched(bench, {"sdpa": 1.6, "compile": 1.5})
    assert bench.asked == [
        (("sdpa",), ()),
        (("sdpa", "compile"), ("sdpa",)),
        (("compile",), ("sdpa",)),
    ]
    assert [step.verdict for step in found.steps] == ["verified", "slower", "verified"]
    assert found.stack == ("compile",)
    # predicted to gain less alone than what is kept was measured to, it is not
    bench = FakeBench({"sdpa": 1.2, "compile": 1.5}, together={("sdpa", "compile"): 1.1})
    assert searched(bench, {"sdpa": 1.6, "compile": 1.1}).stack == ("sdpa",)
    assert len(bench.asked) == 2


def test_exact_levers_leave_time_for_those_that_may_gain_more() -> None:
    bench = FakeBench(FACTORS, most_exact=1)
    found = searched(bench)
    tried = [step.lever for step in found.steps]
    exact = [name for name in tried if LEVERS[name].exactness in EXACT]
    lossy = [name for name in tried if name not in exact]
    # one of the exact ones, then all lossy ones, and the other exact ones with the time that was left
    assert tried == [exact[0], *lossy, *exact[1:]]
    assert lossy
    assert len(exact) > 1
    assert found.complete
    assert bench.allowed[:2] == [EXACT_SHARE, 1.0]


def test_what_is_not_confirmed_is_dropped() -> None:
    bench = FakeBench({"sdpa": 1.2, "compile": 1.5}, fresh_factor=0.6)
    found = searched(bench)
    # 1.8 * 0.6 = 1.08 holds
    assert found.stack == ("sdpa", "compile")
    bench = FakeBench({"sdpa": 1.2, "compile": 1.5}, fresh_factor=0.5)
    found = searched(bench)
    assert bench.confirmed == [("sdpa", "compile"), ("compile",)]
    assert found.stack == ()
    assert [step.verdict for step in found.steps] == ["slower", "slower"]
    assert "measured again" in found.steps[0].reason


FACTOR = st.floats(0.5, 3.0)


@given(measured=st.fixed_dictionaries(dict.fromkeys(LEVERS, FACTOR)), data=st.data())
def test_the_stack_is_no_worse_than_the_best_lever_where_gains_multiply(
    measured: dict[str, float], data: st.DataObject
) -> None:
    """Predictions within 10 % of the truth; gains of more than the noise and 5 %."""
    wrong = {n: f * data.draw(st.floats(0.92, 1.08)) for n, f in measured.items()}
    bench = FakeBench(measured)
    found = searched(bench, wrong)
    best = max(1.0, *(bench.total(stack) for stack in all_stacks(LEVERS)))
    alone = max(measured.values())
    reached = bench.total(found.stack)
    assert reached >= alone / 1.25
    assert reached <= best + 1e-9
    assert len(bench.asked) + len(bench.confirmed) <= len(LEVERS) + 1 <= count_stacks(LEVERS) // 3


def test_among_equal_promises_the_least_risky_comes_first() -> None:
    levers = {
        "searched": fake("searched", risk="medium"),
        "plain": fake("plain"),
        "daring": fake("daring", risk="high"),
    }
    foreseen = {"searched": 1.500, "plain": 1.495, "daring": 1.7}
    bench = FakeBench({"searched": 1.0, "plain": 1.0, "daring": 1.0}, noise=1.02)
    Search(levers, bench, FakeOracle(foreseen)).run()
    # what is predicted to gain more comes first, whatever its risk
    assert [stack for stack, _ in bench.asked] == [("daring",), ("plain",), ("searched",)]


def test_what_no_measurement_could_show_is_not_measured() -> None:
    levers = {name: fake(name) for name in ("large", "small", "tiny")}
    factors = {"large": 1.5, "small": 1.06, "tiny": 1.02}
    bench = FakeBench(factors, noise=1.05)
    found = Search(levers, bench, FakeOracle(factors)).run()
    # small: 1.06 * 1.05 at most, which noise of 1.05 leaves visible; tiny: 1.02 * 1.05 is as well
    assert [step.lever for step in found.steps] == ["large", "small", "tiny"]
    found = Search(levers, FakeBench(factors, noise=1.08), FakeOracle(factors)).run()
    assert [step.lever for step in found.steps] == ["large", "small"]
    assert found.untried == {
        "tiny": "predicted to gain 1.07x at most on top of large: processes that run the same may differ by 1.08x"
    }


def test_where_nothing_helps_also_what_noise_hides_was_measured() -> None:
    factors = {"large": 1.0, "tiny": 1.0}
    levers = {name: fake(name) for name in factors}
    found = Search(
        levers, FakeBench(factors, noise=1.08), FakeOracle({"large": 1.5, "tiny": 1.02})
    ).run()
    assert {step.lever for step in found.steps} == {"large", "tiny"}


def test_comparisons_until_the_stack_was_known() -> None:
    found = searched(
        FakeBench({"sdpa": 1.0, "compile": 1.5, "bf16": 0.9}),
        {"sdpa": 1.6, "compile": 1.5, "bf16": 1.2},
    )
    assert [step.lever for step in found.steps] == ["sdpa", "compile", "bf16"]
    assert (found.found_after, found.measured) == (2, 3 + 1)
    assert Found().found_after == 0


def test_a_lever_that_turned_out_not_to_apply_is_no_comparison() -> None:
    absent = Compared(stack=["sdpa"], on=[], budget=0, failure="no attention", inapplicable=True)

    class Absent(FakeBench):
        def compare(self, stack: Stack, on: Stack, *, fresh: bool = False) -> Compared:
            return absent if stack == ("sdpa",) else super().compare(stack, on, fresh=fresh)

    found = searched(Absent({"sdpa": 1.0, "compile": 1.5}), {"sdpa": 1.6, "compile": 1.5})
    assert [step.verdict for step in found.steps] == ["not applicable", "verified"]
    assert (found.found_after, found.measured) == (1, 1 + 1)


def test_what_noise_hid_is_tried_once_more_where_it_would_show() -> None:
    """Convolutions are a tenth of the time at first, and half of it once the rest is faster."""

    class Shrinking(FakeOracle):
        def _of(self, stack: Stack) -> float:
            rest_s = 0.2 if "int8" in stack else 1.8
            return 2.0 / (rest_s + (0.1 if "layout" in stack else 0.2))

    class Measured(FakeBench):
        def total(self, stack: Stack) -> float:
            return oracle._of(stack)

    levers = {"layout": fake("layout"), "int8": fake("int8", exactness="lossy", budget=0.1)}
    oracle = Shrinking({"layout": 1.0, "int8": 1.0})
    bench = Measured({}, noise=1.06)
    found = Search(levers, bench, oracle).run()
    assert bench.asked == [
        (("layout",), ()),
        (("int8",), ()),
        (("layout", "int8"), ("int8",)),
    ]
    assert found.stack == ("layout", "int8")
    # where it would still be hidden, it is not
    bench = Measured({}, noise=1.5)
    Search(levers, bench, oracle).run()
    assert bench.asked == [(("layout",), ()), (("int8",), ())]


def test_trying_once_more_repeats_no_comparison() -> None:
    """Beside compile, what is hidden alone and what is not was measured both ways already."""
    levers = {"compile": fake("compile"), "x": fake("x")}
    together = {("compile", "x"): 1.5, ("x",): 1.0}

    class Clash(FakeOracle):
        def _of(self, stack: Stack) -> float:
            return {(): 1.0, ("compile",): 1.6, ("x",): 1.68, ("compile", "x"): 2.0}[stack]

    bench = FakeBench({"compile": 1.5, "x": 1.0}, together=together, noise=1.05)
    Search(levers, bench, Clash({"compile": 1.6, "x": 1.6})).run()
    assert len(bench.asked) == len(set(bench.asked))
