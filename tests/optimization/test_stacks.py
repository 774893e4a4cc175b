"""Which levers go together, and in which order; by hand, and against every subset."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprof.tracer.lever import EVERY
from mmprof.tracer.lever_registry import levers
from mmprof.tracer.optimization.stacks import (
    all_stacks,
    count_stacks,
    exclude_each_other,
    in_order,
    with_lever,
)
from tests.optimization.fakes import fake

LEVERS = {
    "cache": fake("cache"),
    "compile": fake("compile", after=(EVERY,), conflicts=("graphs",)),
    "graphs": fake("graphs", after=(EVERY,)),
    "int8": fake("int8", after=("bf16",)),
    "bf16": fake("bf16"),
}


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        ((), ()),
        (("compile", "cache"), ("cache", "compile")),
        (("int8", "bf16"), ("bf16", "int8")),
        (("compile", "int8", "cache", "bf16"), ("cache", "bf16", "int8", "compile")),
    ],
)
def test_compilers_come_last_and_quantization_after_the_dtype(
    names: tuple[str, ...], ordered: tuple[str, ...]
) -> None:
    assert in_order(names, LEVERS) == ordered


def test_levers_that_wait_for_each_other_are_applied_all_the_same() -> None:
    circle = {"a": fake("a", after=("b",)), "b": fake("b", after=("a",))}
    assert in_order(circle, circle) == ("a", "b")


def test_a_lever_takes_the_place_of_those_that_it_excludes() -> None:
    assert with_lever(("cache", "compile"), "graphs", LEVERS) == ("cache", "graphs")
    assert with_lever(("cache", "graphs"), "compile", LEVERS) == ("cache", "compile")
    assert with_lever(("bf16", "compile"), "int8", LEVERS) == ("bf16", "int8", "compile")


def test_stacks_are_counted_as_by_trying_all() -> None:
    # 2 ** 3 subsets of the other three, times none, compile or graphs, without the empty one
    assert count_stacks(LEVERS) == 8 * 3 - 1
    assert len(all_stacks(LEVERS)) == 8 * 3 - 1


@given(
    st.lists(st.sampled_from("abcdef"), unique=True).flatmap(
        lambda ids: st.tuples(
            st.just(ids), st.sets(st.sampled_from(list(combinations(ids, 2)) or [("", "")]))
        )
    )
)
def test_no_stack_holds_levers_that_exclude_each_other(
    drawn: tuple[list[str], set[tuple[str, str]]],
) -> None:
    ids, pairs = drawn
    known = {name: fake(name, conflicts=tuple(b for a, b in pairs if a == name)) for name in ids}
    stacks = all_stacks(known)
    assert len(stacks) == count_stacks(known) == len(set(map(frozenset, stacks)))
    assert not [s for s in stacks for a, b in pairs if a in s and b in s]


def test_registered_levers_have_an_order() -> None:
    known = levers()
    named = in_order(known, known)
    assert sorted(named) == sorted(known)
    for name, lever in known.items():
        unknown = {*lever.after, *lever.conflicts} - {*known, EVERY}
        assert not unknown, f"{name} names levers that do not exist"
    assert named.index("quantization_weight_only") > named.index("dtype")
    assert {"torch_compile", "cuda_graphs"} <= set(
        named[-len([v for v in known.values() if EVERY in v.after]) :]
    )
    assert exclude_each_other(known["torch_compile"], known["static_kv_cache"])
