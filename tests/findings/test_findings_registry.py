"""All rules together: they are complete, honest about what can be gained, and survive every planted trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures import planted
from mmprof.analyzers.findings import find, rules
from mmprof.analyzers.findings.registry import EVIDENCE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.builder import TraceBuilder
    from mmprof.analyzers.view import View

    ViewOf = Callable[[TraceBuilder], View]

CODES = [f"MM{number}" for number in (*range(101, 117), 118, 119)]


def test_codes_are_stable() -> None:
    assert list(rules()) == CODES


@pytest.mark.parametrize("code", CODES)
def test_a_rule_explains_itself_in_a_few_sentences(code: str) -> None:
    rule = rules()[code]
    assert rule.name
    assert 2 <= rule.explain.count(". ") + 1 <= 6
    assert "`" * 3 not in rule.explain


@pytest.mark.parametrize("built", planted.PLANTED, ids=lambda built: built.__name__)
def test_no_finding_promises_more_than_there_is(
    view_of: ViewOf, built: Callable[[], planted.Planted]
) -> None:
    view = view_of(built()[0])
    for code, rule in rules().items():
        match = rule.check(view)
        if match is not None:
            assert 0 <= match.removable_ns <= match.time_ns <= view.window_ns, code
            assert 0 <= match.expected_share <= 1, code
            assert len(match.events) <= EVIDENCE_LIMIT, code


def test_the_finding_with_most_to_gain_comes_first(view_of: ViewOf) -> None:
    findings = find(view_of(planted.pageable_copy()[0]))
    bounds = [f.gain.high for f in findings]
    assert len(findings) > 1
    assert bounds == sorted(bounds, reverse=True)


def test_a_match_may_name_its_own_lever(view_of: ViewOf) -> None:
    levers = {f.code: f.lever for f in find(view_of(planted.cpu_nested()[0]))}
    assert levers["MM101"] == "torch_compile"
    assert rules()["MM101"].lever == "cuda_graphs"


def test_nothing_is_found_where_nothing_ran(view_of: ViewOf) -> None:
    assert find(view_of(planted.fully_busy()[0])) == ()
