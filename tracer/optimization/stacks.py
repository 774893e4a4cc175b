"""Levers that are applied together: which may be, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import TypeAlias

from mmprof.tracer.lever import EVERY, Lever

Stack: TypeAlias = tuple[str, ...]
"""What the user calls some levers, in the order in which they are applied; empty for the baseline."""

Levers: TypeAlias = Mapping[str, Lever]
"""Levers by what the user calls them, in the order that they have where nothing else decides."""


def exclude_each_other(one: Lever, other: Lever) -> bool:
    """Whether two levers cannot be applied together."""
    return other.id in one.conflicts or one.id in other.conflicts


def in_order(names: Iterable[str], levers: Levers) -> Stack:
    """The names in the order in which the levers are applied.

    A lever waits for those that it comes after. Where levers wait for each other, the first of them is applied first.
    """
    left = [name for name in levers if name in set(names)]
    placed: list[str] = []
    while left:
        ready = (name for name in left if not _waits(name, left, levers))
        placed.append(next(ready, left[0]))
        left.remove(placed[-1])
    return tuple(placed)


def _waits(name: str, left: Iterable[str], levers: Levers) -> bool:
    """Whether a lever comes after one that is not placed yet; of two that come after every other, none waits."""
    after = levers[name].after
    others = [levers[other] for other in left if other != name]
    if EVERY in after:
        return any(EVERY not in other.after for other in others)
    return any(other.id in after for other in others)


def with_lever(stack: Stack, name: str, levers: Levers) -> Stack:
    """The stack with one more lever, which takes the place of those that exclude it."""
    kept = [each for each in stack if not exclude_each_other(levers[each], levers[name])]
    return in_order([*kept, name], levers)


def count_stacks(levers: Levers) -> int:
    """How many stacks there are: sets of at least one lever in which none excludes another."""
    allowed: list[frozenset[str]] = [frozenset()]
    for name in levers:
        allowed += [
            stack | {name}
            for stack in allowed
            if not any(exclude_each_other(levers[name], levers[other]) for other in stack)
        ]
    return len(allowed) - 1


def all_stacks(levers: Levers) -> list[Stack]:
    """The stacks themselves: an exhaustive search measures each; small ones first."""
    sets = (names for size in range(1, len(levers) + 1) for names in combinations(levers, size))
    return [
        in_order(names, levers)
        for names in sets
        if not any(exclude_each_other(levers[a], levers[b]) for a, b in combinations(names, 2))
    ]
